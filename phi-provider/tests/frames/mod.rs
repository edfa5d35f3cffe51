//! Writes messages of the binary event stream of AWS, without the code that reads them.

/// Writes a message whose headers are given as bytes.
pub(crate) fn message(headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let total = u32::try_from(16 + headers.len() + payload.len()).unwrap();
    let mut out = total.to_be_bytes().to_vec();
    out.extend(u32::try_from(headers.len()).unwrap().to_be_bytes());
    out.extend(crc32(&out).to_be_bytes());
    out.extend(headers);
    out.extend(payload);
    out.extend(crc32(&out).to_be_bytes());
    out
}

/// Writes an event as the service does.
pub(crate) fn event(name: &str, payload: &[u8]) -> Vec<u8> {
    typed("event", ":event-type", name, payload)
}

/// Writes an exception as the service does.
pub(crate) fn exception(name: &str, payload: &[u8]) -> Vec<u8> {
    typed("exception", ":exception-type", name, payload)
}

fn typed(kind: &str, name_header: &str, name: &str, payload: &[u8]) -> Vec<u8> {
    let headers = [
        text_header(name_header, name),
        text_header(":content-type", "application/json"),
        text_header(":message-type", kind),
    ];
    message(&headers.concat(), payload)
}

/// Writes a header that holds text.
pub(crate) fn text_header(name: &str, text: &str) -> Vec<u8> {
    let mut out = vec![u8::try_from(name.len()).unwrap()];
    out.extend(name.as_bytes());
    out.push(7);
    out.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    out.extend(text.as_bytes());
    out
}

/// Computes the CRC-32 of IEEE 802.3 bit by bit.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    })
}
