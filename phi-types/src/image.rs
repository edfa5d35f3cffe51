//! The size of an image, read off the first bytes of its file.

use crate::message::ImageSource;

/// The size of an image in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageSize {
    /// Its width.
    pub width: u32,
    /// Its height.
    pub height: u32,
}

/// A JPEG file has fewer segments before its picture, or is not looked through any further.
const SEGMENTS_MAX: usize = 256;

impl ImageSource {
    /// Reads the size off the header of a PNG, GIF, JPEG or WebP file; `None` for an address, and for
    /// bytes that are none of these.
    ///
    /// No more than the header is decoded, however large the image is.
    #[must_use]
    pub fn size(&self) -> Option<ImageSize> {
        let Self::Base64(text) = self else {
            return None;
        };
        let bytes = Bytes(text.as_bytes());
        let size = bytes
            .png()
            .or_else(|| bytes.gif())
            .or_else(|| bytes.jpeg())
            .or_else(|| bytes.webp())?;
        (size.width > 0 && size.height > 0).then_some(size)
    }
}

/// The bytes that a base64 text stands for, decoded where they are looked at.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn at(&self, index: usize) -> Option<u8> {
        let first = (index / 3).checked_mul(4)?.checked_add(index % 3)?;
        let six = |at: usize| sextet(*self.0.get(at)?);
        let (high, low) = (six(first)?, six(first.checked_add(1)?)?);
        Some(match index % 3 {
            0 => (high << 2) | (low >> 4),
            1 => (high << 4) | (low >> 2),
            _ => (high << 6) | low,
        })
    }

    fn is(&self, from: usize, expected: &[u8]) -> bool {
        let mut all = expected.iter().enumerate();
        all.all(|(at, byte)| self.at(from + at) == Some(*byte))
    }

    fn big_endian(&self, from: usize, bytes: usize) -> Option<u32> {
        (from..from + bytes).try_fold(0, |sum, at| Some((sum << 8) | u32::from(self.at(at)?)))
    }

    fn little_endian(&self, from: usize, bytes: usize) -> Option<u32> {
        let mut all = (from..from + bytes).rev();
        all.try_fold(0, |sum, at| Some((sum << 8) | u32::from(self.at(at)?)))
    }

    /// RFC 2083: the first chunk is `IHDR`.
    fn png(&self) -> Option<ImageSize> {
        if !self.is(0, b"\x89PNG\r\n\x1a\n") || !self.is(12, b"IHDR") {
            return None;
        }
        let (width, height) = (self.big_endian(16, 4)?, self.big_endian(20, 4)?);
        Some(ImageSize { width, height })
    }

    fn gif(&self) -> Option<ImageSize> {
        if !self.is(0, b"GIF87a") && !self.is(0, b"GIF89a") {
            return None;
        }
        let (width, height) = (self.little_endian(6, 2)?, self.little_endian(8, 2)?);
        Some(ImageSize { width, height })
    }

    /// The size stands in the first segment that begins a frame (ITU T.81, `SOF0` to `SOF15`).
    fn jpeg(&self) -> Option<ImageSize> {
        if !self.is(0, b"\xff\xd8") {
            return None;
        }
        let mut at = 2_usize;
        for _ in 0..SEGMENTS_MAX {
            if self.at(at)? != 0xff {
                return None;
            }
            match self.at(at + 1)? {
                0xff => at += 1,
                // Segments without a length.
                0x01 | 0xd0..=0xd7 => at += 2,
                // The tables `DHT`, `JPG` and `DAC` stand between the frames.
                0xc4 | 0xc8 | 0xcc => at = self.next_segment(at)?,
                0xc0..=0xcf => {
                    let (height, width) =
                        (self.big_endian(at + 5, 2)?, self.big_endian(at + 7, 2)?);
                    return Some(ImageSize { width, height });
                }
                // The picture itself, or its end.
                0xd9 | 0xda => return None,
                _ => at = self.next_segment(at)?,
            }
        }
        None
    }

    fn next_segment(&self, at: usize) -> Option<usize> {
        let length = usize::try_from(self.big_endian(at + 2, 2)?).ok()?;
        (length >= 2).then_some(at + 2 + length)
    }

    /// RFC 9649: lossy (`VP8 `), lossless (`VP8L`) and extended (`VP8X`) files.
    fn webp(&self) -> Option<ImageSize> {
        if !self.is(0, b"RIFF") || !self.is(8, b"WEBP") {
            return None;
        }
        let (width, height) = if self.is(12, b"VP8X") {
            (
                self.little_endian(24, 3)? + 1,
                self.little_endian(27, 3)? + 1,
            )
        } else if self.is(12, b"VP8L") && self.at(20)? == 0x2f {
            let bits = self.little_endian(21, 4)?;
            ((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1)
        } else if self.is(12, b"VP8 ") && self.is(23, b"\x9d\x01\x2a") {
            let (width, height) = (self.little_endian(26, 2)?, self.little_endian(28, 2)?);
            (width & 0x3fff, height & 0x3fff)
        } else {
            return None;
        };
        Some(ImageSize { width, height })
    }
}

fn sextet(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base64(bytes: &[u8]) -> ImageSource {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let whole = chunk
                .iter()
                .fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte));
            let whole = whole << (8 * (3 - chunk.len()));
            for at in 0..4 {
                let six = usize::try_from((whole >> (18 - 6 * at)) & 63).unwrap();
                let letter = if at <= chunk.len() {
                    LETTERS[six]
                } else {
                    b'='
                };
                text.push(char::from(letter));
            }
        }
        ImageSource::Base64(text)
    }

    fn files() -> Vec<(&'static str, Vec<u8>)> {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x02\x80\0\0\x01\xe0\x08".to_vec();
        let gif = b"GIF89a\x80\x02\xe0\x01\xf7".to_vec();
        // An `APP0` segment, a table and filling bytes come before the frame.
        let jpeg =
            b"\xff\xd8\xff\xe0\0\x04ab\xff\xc4\0\x03x\xff\xff\xc2\0\x11\x08\x01\xe0\x02\x80\x03"
                .to_vec();
        let lossy = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a\x80\x02\xe0\x01".to_vec();
        let lossless = {
            let bits: u32 = (639) | (479 << 14);
            [
                &b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f"[..],
                &bits.to_le_bytes(),
            ]
            .concat()
        };
        let extended = b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0\x7f\x02\0\xdf\x01\0".to_vec();
        vec![
            ("png", png),
            ("gif", gif),
            ("jpeg", jpeg),
            ("lossy webp", lossy),
            ("lossless webp", lossless),
            ("extended webp", extended),
        ]
    }

    #[test]
    fn the_size_is_read_off_the_header() {
        for (what, bytes) in files() {
            let expected = ImageSize {
                width: 640,
                height: 480,
            };
            assert_eq!(base64(&bytes).size(), Some(expected), "{what}");
        }
    }

    #[test]
    fn what_is_cut_wrong_or_elsewhere_has_no_known_size() {
        for (what, bytes) in files() {
            // The last byte of some of the files is no part of the size.
            for length in 0..bytes.len() - 1 {
                assert_eq!(base64(&bytes[..length]).size(), None, "{what} {length}");
            }
            for at in 0..bytes.len() {
                for byte in [0, 0x80, 0xff] {
                    let mut altered = bytes.clone();
                    altered[at] = byte;
                    // It is whatever it is: nothing panics and no size is empty.
                    let size = base64(&altered).size();
                    assert!(size.is_none_or(|size| size.width > 0 && size.height > 0));
                }
            }
        }
        for text in [
            "",
            "=",
            "\u{e9}",
            "iVBORw0KGgo",
            "%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%",
        ] {
            assert_eq!(ImageSource::Base64(text.to_owned()).size(), None, "{text}");
        }
        let filling = [&b"\xff\xd8"[..], &[0xff; 10_000]].concat();
        assert_eq!(base64(&filling).size(), None);
        assert_eq!(
            ImageSource::Url("https://example.com/a.png".to_owned()).size(),
            None
        );
    }
}
