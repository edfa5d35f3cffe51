//! The names by which services know one model.

/// Prefixes of the inference profiles of Bedrock.
const REGIONS: &[&str] = &[
    "global.", "us.", "us-gov.", "eu.", "apac.", "jp.", "au.", "ca.", "sa.",
];

/// Returns the forms of a name in lower case under which a model may be known, the fullest first.
pub(super) fn forms(name: &str) -> Vec<String> {
    let mut forms: Vec<String> = Vec::new();
    let mut push = |form: &str| {
        if !form.is_empty() && !forms.iter().any(|it| it == form) {
            forms.push(form.to_owned());
        }
    };
    push(name);
    // `models/…`, the path of Vertex and the resource names of AWS: the last piece is the name.
    let last = name.rsplit('/').next().unwrap_or(name);
    let regional = REGIONS.iter().find_map(|region| last.strip_prefix(region));
    let local = regional.unwrap_or(last);
    // Bedrock: `anthropic.claude-…`; a version has digits around its dot.
    let bare = match local.split_once('.') {
        Some((vendor, rest)) if vendor.bytes().all(|byte| byte.is_ascii_lowercase()) => rest,
        _ => local,
    };
    for whole in [name, last, local, bare] {
        push(whole);
        let unversioned = without_version(whole);
        push(unversioned);
        let undated = without_date(unversioned);
        push(undated);
        // OpenRouter: `anthropic/claude-sonnet-4.5`.
        push(&undated.replace('.', "-"));
    }
    forms
}

/// Takes off the version of Bedrock, as `-v1:0`.
fn without_version(name: &str) -> &str {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    match name.rsplit_once(':') {
        Some((rest, minor)) if is_number(minor) => match rest.rsplit_once("-v") {
            Some((rest, major)) if is_number(major) => rest,
            _ => rest,
        },
        _ => name,
    }
}

/// Takes off the date or the number of a version: `-20250929`, `@20250929`, `-2025-08-07`,
/// `-preview-09-2025`, `-preview-05-20`, `-2411`, `-001`, `-latest`.
fn without_date(name: &str) -> &str {
    if let Some(rest) = name
        .strip_suffix("-latest")
        .or_else(|| name.strip_suffix("@default"))
    {
        return rest;
    }
    if let Some((rest, date)) = name.split_once('@') {
        return if shape(date) == "########" {
            rest
        } else {
            name
        };
    }
    for dated in [
        "-####-##-##",
        "-########",
        "-preview-##-####",
        "-preview-##-##",
    ] {
        if let Some(rest) = without_suffix(name, dated) {
            return rest;
        }
    }
    match without_suffix(name, "-####").or_else(|| without_suffix(name, "-00#")) {
        Some(rest) => rest,
        None => name,
    }
}

/// Takes off a suffix in which `#` stands for a digit.
fn without_suffix<'n>(name: &'n str, suffix: &str) -> Option<&'n str> {
    let at = name.len().checked_sub(suffix.len())?;
    let (rest, end) = (name.get(..at)?, name.get(at..)?);
    let fits = |(a, b): (u8, u8)| {
        if b == b'#' {
            a.is_ascii_digit()
        } else {
            a == b
        }
    };
    end.bytes().zip(suffix.bytes()).all(fits).then_some(rest)
}

fn shape(text: &str) -> String {
    let shape = |it: char| if it.is_ascii_digit() { '#' } else { it };
    text.chars().map(shape).collect()
}

/// Says whether a name is what a pattern with one `*` describes, whatever the case.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    let Some((before, after)) = pattern.split_once('*') else {
        return false;
    };
    let rest = name.strip_prefix(before);
    rest.is_some_and(|rest| rest.ends_with(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_without_its_date_version_region_and_vendor() {
        for (name, known) in [
            ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
            ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
            ("claude-opus-4-6@default", "claude-opus-4-6"),
            ("gpt-5-2025-08-07", "gpt-5"),
            ("gpt-4-0613", "gpt-4"),
            ("mistral-large-2411", "mistral-large"),
            ("models/gemini-2.5-pro", "gemini-2.5-pro"),
            ("gemini-2.5-flash-preview-09-2025", "gemini-2.5-flash"),
            ("gemini-2.0-flash-001", "gemini-2.0-flash"),
            (
                "us.anthropic.claude-haiku-4-5-20251001-v1:0",
                "claude-haiku-4-5",
            ),
            (
                "global.anthropic.claude-sonnet-4-20250514-v1:0",
                "claude-sonnet-4",
            ),
            ("us.amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0"),
            (
                "arn:aws:bedrock:us-east-1:1:inference-profile/eu.amazon.nova-lite-v1:0",
                "amazon.nova-lite-v1:0",
            ),
            ("anthropic/claude-sonnet-4.5", "claude-sonnet-4-5"),
            ("claude-3-5-haiku-latest", "claude-3-5-haiku"),
        ] {
            let forms = forms(name);
            assert!(forms.iter().any(|form| form == known), "{name}: {forms:?}");
            assert_eq!(forms[0], name);
        }
    }

    #[test]
    fn what_is_no_date_stays_and_odd_names_are_no_panic() {
        for name in ["o1-preview", "grok-3-mini", "gpt-4.1", "llama3:8b"] {
            assert!(
                forms(name).iter().all(|form| form.len() == name.len()),
                "{name}"
            );
        }
        for name in [
            "",
            "/",
            ":",
            "-",
            "@",
            "é-2025",
            "ab-00é",
            "-20250929",
            ".",
            "a.",
            ":0",
        ] {
            let _forms = forms(name);
        }
        assert!(matches("My-*-model", "my-own-model"));
        assert!(matches("a*", "a") && !matches("ab*b", "ab") && !matches("ab", "ab"));
    }
}
