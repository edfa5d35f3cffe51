//! Where the service is found, and how a model is named in a path.

use crate::percent::percent_encoded;

/// Returns the address of the service in a region.
pub(super) fn host_of_region(region: &str) -> String {
    let domain = if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    };
    format!("https://bedrock-runtime.{region}.{domain}")
}

/// Returns the region that an address of AWS names, which a signature must be for.
///
/// The host reads `bedrock-runtime.{region}.amazonaws.com`, with `-fips` after the service, and
/// with the name of an endpoint before it and `vpce` after the region for a private one.
pub(super) fn region_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    let host = host.split(':').next()?;
    let is_aws = host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn");
    let mut labels = host.split('.').filter(|_| is_aws);
    labels.find(|label| matches!(*label, "bedrock-runtime" | "bedrock-runtime-fips"))?;
    labels.next()
}

/// Returns the path of an operation on a model: everything in the name but the unreserved
/// characters of RFC 3986 is escaped, so that an ARN is one segment.
pub(super) fn model_path(model: &str, operation: &str) -> String {
    format!("/model/{}/{operation}", percent_encoded(model))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b4_the_name_of_a_model_is_one_segment_of_the_path() {
        for (model, expected) in [
            (
                "amazon.nova-lite-v1:0",
                "/model/amazon.nova-lite-v1%3A0/converse",
            ),
            (
                "arn:aws:bedrock:eu-west-1:1:inference-profile/a.b",
                "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A1%3Ainference-profile%2Fa.b/converse",
            ),
            ("a b?#%é~_", "/model/a%20b%3F%23%25%C3%A9~_/converse"),
        ] {
            assert_eq!(model_path(model, "converse"), expected);
        }
    }

    #[test]
    fn b4_the_region_is_the_one_of_the_host() {
        for (url, expected) in [
            (
                "https://bedrock-runtime.us-east-1.amazonaws.com/model",
                Some("us-east-1"),
            ),
            (
                "https://bedrock-runtime-fips.us-west-2.amazonaws.com:443",
                Some("us-west-2"),
            ),
            (
                "https://bedrock-runtime.cn-north-1.amazonaws.com.cn/x",
                Some("cn-north-1"),
            ),
            (
                "https://vpce-1.bedrock-runtime.eu-west-1.vpce.amazonaws.com/",
                Some("eu-west-1"),
            ),
            ("https://bedrock-runtime.evil.example/", None),
            (
                "https://proxy.example/bedrock-runtime.us-east-1.amazonaws.com",
                None,
            ),
            ("http://127.0.0.1:8080/model", None),
            ("", None),
        ] {
            assert_eq!(region_of(url), expected, "{url}");
        }
        assert_eq!(region_of(&host_of_region("us-east-1")), Some("us-east-1"));
        assert_eq!(region_of(&host_of_region("cn-north-1")), Some("cn-north-1"));
    }
}
