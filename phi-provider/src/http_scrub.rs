//! What may be shown of addresses and of what a service says: no secret.

use secrecy::{ExposeSecret, SecretString};

use crate::percent::percent_encoded;

/// The shortest secret that is looked for in a message: a shorter one is a word of many texts.
const SECRET_BYTES_MIN: usize = 8;
/// The shortest beginning of a secret that counts as one: messages are cut.
const BEGINNING_BYTES_MIN: usize = 12;

/// Takes secrets out of a message, as they are, as JSON or an address writes them, and cut off.
pub(crate) fn scrub<'a>(message: &str, secrets: impl Iterator<Item = &'a SecretString>) -> String {
    let mut scrubbed = message.to_owned();
    for secret in secrets {
        let value = secret.expose_secret();
        replace(&mut scrubbed, value);
        // Services repeat the key itself, without the scheme of its header.
        let key = value.rsplit(' ').next().unwrap_or(value);
        replace(&mut scrubbed, key);
        replace(&mut scrubbed, &key.replace('/', "\\/"));
        replace(&mut scrubbed, &percent_encoded(key));
        if key.len() > BEGINNING_BYTES_MIN {
            replace_cut(&mut scrubbed, key);
        }
    }
    scrubbed
}

const MARK: &str = "[credential]";

fn replace(message: &mut String, secret: &str) {
    if secret.len() >= SECRET_BYTES_MIN && message.contains(secret) {
        *message = message.replace(secret, MARK);
    }
}

/// Replaces the beginnings of a secret, as far as they go.
fn replace_cut(message: &mut String, key: &str) {
    let Some(beginning) = key.get(..BEGINNING_BYTES_MIN) else {
        return;
    };
    let mut rest = std::mem::take(message);
    while let Some((before, after)) = rest.split_once(beginning) {
        let tail = key.get(BEGINNING_BYTES_MIN..).unwrap_or_default().chars();
        let same = after.chars().zip(tail).take_while(|(a, b)| a == b);
        let length: usize = same.map(|(a, _)| a.len_utf8()).sum();
        message.push_str(before);
        message.push_str(MARK);
        rest = after.get(length..).unwrap_or_default().to_owned();
    }
    message.push_str(&rest);
}

/// Takes out of an address what may hold a credential: user, password, query and fragment.
pub(crate) fn without_secrets(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or(url);
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let path = rest.split_once('/').map_or("", |(_, path)| path);
            format!("{scheme}://{}/{path}", host_of(url))
        }
        None => url.to_owned(),
    }
}

/// Returns host and port of an address, without the credential that it should not hold.
pub(crate) fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.rsplit('@').next().unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_taken_out_of_a_message_with_and_without_its_scheme() {
        let secrets = [SecretString::from("Bearer sk-very-secret"), "short".into()];
        let message = "wrong key sk-very-secret in `Bearer sk-very-secret`, in short";
        assert_eq!(
            scrub(message, secrets.iter()),
            "wrong key [credential] in `[credential]`, in short"
        );
    }

    #[test]
    fn a_secret_is_found_however_it_is_written() {
        let secrets = [SecretString::from("wJalr/XUtnFE+MI/K7MDENG")];
        for (message, wanted) in [
            ("`wJalr\\/XUtnFE+MI\\/K7MDENG`", "`[credential]`"),
            ("?k=wJalr%2FXUtnFE%2BMI%2FK7MDENG", "?k=[credential]"),
            ("cut: wJalr/XUtnFE+MI/", "cut: [credential]"),
            (
                "cut: wJalr/XUtnFE... twice: wJalr/XUtnFE+",
                "cut: [credential]... twice: [credential]",
            ),
            ("wJalr/XU only", "wJalr/XU only"),
        ] {
            assert_eq!(scrub(message, secrets.iter()), wanted);
        }
    }

    #[test]
    fn a_secret_that_is_part_of_the_mark_ends() {
        let secrets = [SecretString::from("[credential]s"), "[credential]".into()];
        let scrubbed = scrub("a [credential]s b", secrets.iter());
        assert_eq!(scrubbed, "a [credential] b");
    }

    #[test]
    fn the_host_of_an_address_is_all_that_is_named() {
        for (url, host) in [
            ("https://api.test/v1?key=secret", "api.test"),
            ("http://me:secret@[::1]:80?x", "[::1]:80"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(host_of(url), host);
        }
    }

    #[test]
    fn an_address_is_shown_without_what_may_be_secret() {
        for (url, shown) in [
            (
                "https://me:secret@a.test/v1/x?key=secret#s",
                "https://a.test/v1/x",
            ),
            ("https://a.test?key=secret", "https://a.test/"),
            ("/v2?key=secret", "/v2"),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
    }
}
