//! Who asks: bearer keys, and signatures that are computed here a second time.

use std::time::{Duration, SystemTime};

use phi_provider::{AwsKeys, BedrockConverse, HttpRequest, Secret, SecretHeader, Wire};
use phi_types::Options;
use secrecy::{ExposeSecret, SecretString};

use crate::support::{request, user, wire};

/// 2026-03-14T15:09:26Z.
fn at() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_773_500_966)
}

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

pub(crate) fn keys(token: Option<&str>) -> Secret {
    Secret::Aws(AwsKeys {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: SecretString::from(SECRET),
        session_token: token.map(SecretString::from),
    })
}

fn signed(wire: &BedrockConverse, request: &HttpRequest, secret: &Secret) -> Vec<SecretHeader> {
    wire.authorize(request, secret, at()).unwrap()
}

fn value<'h>(headers: &'h [SecretHeader], name: &str) -> Option<&'h str> {
    let header = headers.iter().find(|header| header.name == name)?;
    Some(header.value.expose_secret())
}

/// The signatures are those of botocore 1.44 for the same requests.
#[test]
fn b04_signatures_are_those_of_the_official_sdk() {
    let post = |url: &str, body: &str| HttpRequest {
        method: "POST",
        url: url.to_owned(),
        headers: vec![
            ("content-type", "application/json".to_owned()),
            ("accept", "application/json".to_owned()),
        ],
        body: vec![body.to_owned().into()],
    };
    let nova = post(
        "https://bedrock-runtime.eu-west-1.amazonaws.com/model/eu.amazon.nova-lite-v1%3A0/converse-stream",
        r#"{"messages":[]}"#,
    );
    let arn = post(
        "https://bedrock-runtime.us-east-1.amazonaws.com/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A012345678901%3Ainference-profile%2Fus.anthropic.claude-3-7-sonnet-20250219-v1%3A0/converse",
        r#"{"messages":[{"role":"user","content":[{"text":"hé"}]}]}"#,
    );
    let local = post("http://127.0.0.1:8080/base/model/a%20b/converse", "{}");
    for (request, token, expected) in [
        (
            nova,
            None,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260314/eu-west-1/bedrock/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=8025a44e71bafe5f6b9d1ff14fff18795cbaa989761c42076a9bc624f0df83f2",
        ),
        (
            arn,
            Some("session-token"),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260314/us-east-1/bedrock/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature=aa7b4db1a4dd1b1729d301c49b4b50c86247e91ae5d590d57bd09914af2041e2",
        ),
        (
            local,
            None,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260314/us-east-1/bedrock/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=df16237d07afc9bcf2df08be6ec1722b2e77c495c1ccdc5c9c60f5144214ea23",
        ),
    ] {
        let headers = signed(&wire(), &request, &keys(token));
        assert_eq!(value(&headers, "authorization"), Some(expected));
        assert_eq!(value(&headers, "x-amz-date"), Some("20260314T150926Z"));
        assert_eq!(value(&headers, "x-amz-security-token"), token);
    }
}

/// The whole way from a model's name to its signature, against a computation that shares no code.
#[test]
fn b04_whatever_the_model_is_called_the_signature_is_right() {
    for model in [
        "amazon.nova-lite-v1:0",
        "arn:aws:bedrock:us-east-1:012345678901:inference-profile/us.anthropic.claude-sonnet-4-6",
        "a/b//c/../d",
        "with space+plus%percent?query#fragment",
        "é~_-.",
    ] {
        for region in ["us-east-1", "cn-north-1"] {
            let wire = BedrockConverse::new(region);
            let request = request(model, vec![user("q")], Options::default());
            let request = wire.encode(&request).unwrap().request;
            let headers = signed(&wire, &request, &keys(Some("token")));
            let address = request.url.strip_prefix("https://").unwrap();
            let (host, path) = address.split_at(address.find('/').unwrap());
            let expected = Signed {
                host,
                path,
                date: "20260314T150926Z",
                region,
                token: "token",
                body: &request.body_bytes(),
            };
            let expected = expected.signature();
            let authorization = value(&headers, "authorization").unwrap();
            assert!(
                authorization.ends_with(&expected),
                "{model}: {authorization}"
            );
        }
    }
}

#[test]
fn b04_keys_of_the_service_travel_as_bearers() {
    let request = request("m", vec![user("q")], Options::default());
    let request = wire().encode(&request).unwrap().request;
    for secret in [
        Secret::Key(SecretString::from("bedrock-api-key-1")),
        Secret::Token(SecretString::from("bedrock-api-key-1")),
    ] {
        let headers = signed(&wire(), &request, &secret);
        assert_eq!(headers.len(), 1);
        let bearer = Some("Bearer bedrock-api-key-1");
        assert_eq!(value(&headers, "authorization"), bearer);
    }
}

#[test]
fn b04_no_secret_stands_in_an_address_a_debug_text_or_an_error() {
    let secret = keys(Some("session-token"));
    let request = request("m", vec![user("q")], Options::default());
    let mut request = wire().encode(&request).unwrap().request;
    let headers = signed(&wire(), &request, &secret);
    let shown = format!("{request:?} {secret:?} {headers:?} {:?}", wire());
    for hidden in [SECRET, "session-token", "Signature="] {
        assert!(!shown.contains(hidden), "{hidden} in {shown}");
    }
    request.url = "no address".to_owned();
    let error = wire().authorize(&request, &secret, at()).unwrap_err();
    let error = format!("{error} {error:?}");
    assert!(error.contains("cannot be signed"), "{error}");
    assert!(
        !error.contains(SECRET) && !error.contains("session-token"),
        "{error}"
    );
}

#[test]
fn b13_each_request_is_signed_with_the_keys_and_the_time_that_it_is_given() {
    let request = request("m", vec![user("q")], Options::default());
    let request = wire().encode(&request).unwrap().request;
    let old = signed(&wire(), &request, &keys(Some("old")));
    let new = signed(&wire(), &request, &keys(Some("new")));
    assert_eq!(value(&new, "x-amz-security-token"), Some("new"));
    assert_ne!(value(&old, "authorization"), value(&new, "authorization"));
    let later = at() + Duration::from_secs(3_600);
    let later = wire().authorize(&request, &keys(None), later).unwrap();
    assert_eq!(value(&later, "x-amz-date"), Some("20260314T160926Z"));
    assert_eq!(value(&later, "x-amz-security-token"), None);
}

/// What a signature covers.
pub(crate) struct Signed<'a> {
    pub(crate) host: &'a str,
    /// As it was sent.
    pub(crate) path: &'a str,
    pub(crate) date: &'a str,
    pub(crate) region: &'a str,
    pub(crate) token: &'a str,
    pub(crate) body: &'a [u8],
}

impl Signed<'_> {
    /// Computes the signature as the specification spells it, with the secret key of this file.
    pub(crate) fn signature(&self) -> String {
        let Self {
            host,
            path,
            date,
            region,
            token,
            body,
        } = self;
        // Each percent sign of the path is escaped once more; the other characters are unreserved.
        let path = path.replace('%', "%25");
        let payload = hex(&sha256(body));
        let canonical = format!(
            "POST\n{path}\n\ncontent-type:application/json\nhost:{host}\nx-amz-date:{date}\n\
             x-amz-security-token:{token}\n\n\
             content-type;host;x-amz-date;x-amz-security-token\n{payload}"
        );
        let (day, _) = date.split_once('T').unwrap();
        let scope = format!("{day}/{region}/bedrock/aws4_request");
        let digest = hex(&sha256(canonical.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}");
        let first = format!("AWS4{SECRET}").into_bytes();
        let key = scope
            .split('/')
            .fold(first, |key, part| hmac(&key, part.as_bytes()));
        hex(&hmac(&key, to_sign.as_bytes()))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// HMAC with SHA-256 (RFC 2104).
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = if key.len() > 64 {
        sha256(key)
    } else {
        key.to_vec()
    };
    block.resize(64, 0);
    let pad = |mask: u8| {
        block
            .iter()
            .map(move |byte| byte ^ mask)
            .collect::<Vec<_>>()
    };
    let inner = sha256(&[&pad(0x36)[..], message].concat());
    sha256(&[&pad(0x5c)[..], &inner].concat())
}

/// SHA-256 (FIPS 180-4), whose constants are the fractions of roots of the first primes.
fn sha256(message: &[u8]) -> Vec<u8> {
    let primes = || (2_u64..).filter(|n| (2..*n).all(|d| n % d != 0));
    let fraction = |power: f64| {
        move |prime: u64| {
            // The root with 32 binary places, found exactly: a float alone is not enough.
            let degree = if power == 0.5 { 2 } else { 3 };
            let target = u128::from(prime) << (32 * degree);
            let (mut low, mut high) = (0_u128, 1_u128 << 40);
            while low + 1 < high {
                let middle = u128::midpoint(low, high);
                let fits = middle.checked_pow(degree).is_some_and(|it| it <= target);
                if fits { low = middle } else { high = middle }
            }
            u32::try_from(low & 0xffff_ffff).unwrap()
        }
    };
    let mut state: Vec<u32> = primes().take(8).map(fraction(0.5)).collect();
    let constants: Vec<u32> = primes().take(64).map(fraction(1.0 / 3.0)).collect();
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64), 0);
    if padded.len() - message.len() < 9 {
        padded.resize(padded.len() + 64, 0);
    }
    let bits = (message.len() as u64 * 8).to_be_bytes();
    let end = padded.len();
    padded[end - 8..].copy_from_slice(&bits);
    for block in padded.chunks(64) {
        let words = block.chunks(4);
        let mut w: Vec<u32> = words
            .map(|word| u32::from_be_bytes(word.try_into().unwrap()))
            .collect();
        for t in 16..64 {
            let (a, b) = (w[t - 15], w[t - 2]);
            let s0 = a.rotate_right(7) ^ a.rotate_right(18) ^ (a >> 3);
            let s1 = b.rotate_right(17) ^ b.rotate_right(19) ^ (b >> 10);
            let next = w[t - 16].wrapping_add(s0).wrapping_add(w[t - 7]);
            w.push(next.wrapping_add(s1));
        }
        let mut v = state.clone();
        for (word, constant) in w.iter().zip(&constants) {
            let s1 = v[4].rotate_right(6) ^ v[4].rotate_right(11) ^ v[4].rotate_right(25);
            let choice = (v[4] & v[5]) ^ (!v[4] & v[6]);
            let sum = v[7].wrapping_add(s1).wrapping_add(choice);
            let sum = sum.wrapping_add(*constant).wrapping_add(*word);
            let s0 = v[0].rotate_right(2) ^ v[0].rotate_right(13) ^ v[0].rotate_right(22);
            let majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
            v.rotate_right(1);
            v[4] = v[4].wrapping_add(sum);
            v[0] = sum.wrapping_add(s0).wrapping_add(majority);
        }
        for (so_far, new) in state.iter_mut().zip(v) {
            *so_far = so_far.wrapping_add(new);
        }
    }
    state.into_iter().flat_map(u32::to_be_bytes).collect()
}

#[test]
fn the_digest_of_these_tests_is_sha_256() {
    for (text, expected) in [
        (
            "",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        (
            "abc",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
    ] {
        assert_eq!(hex(&sha256(text.as_bytes())), expected);
    }
}
