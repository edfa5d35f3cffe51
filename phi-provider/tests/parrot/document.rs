//! The document holds the code that runs here, word for word.

use std::fs;
use std::path::Path;

fn document() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join("../docs/writing-a-provider.md")).unwrap()
}

/// Asserts that the document holds a text.
pub(crate) fn holds(what: &str, text: &str) {
    let document = document();
    assert!(
        document.contains(text.trim()),
        "the document lacks {what}:\n{text}"
    );
}

#[test]
fn every_region_stands_in_the_document() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parrot");
    for region in ["wire", "decoder", "messages", "contract", "provider"] {
        let source = fs::read_to_string(folder.join(format!("{region}.rs"))).unwrap();
        let (_, rest) = source
            .split_once(&format!("// region: {region}\n"))
            .unwrap();
        let (code, _) = rest.split_once(&format!("// endregion: {region}")).unwrap();
        holds(region, code);
    }
}
