//! The saved inputs of the fuzz targets do no harm, and nor does each of them cut short.
#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail where the tests do"
)]

#[path = "../fuzz/bodies.rs"]
mod bodies;

use std::fs;
use std::path::Path;

#[test]
fn every_saved_input_does_no_harm() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    for target in bodies::TARGETS {
        assert!(targets.join(format!("{target}.rs")).exists(), "{target}");
        let mut inputs = 0;
        for file in fs::read_dir(corpus.join(target)).unwrap() {
            let data = fs::read(file.unwrap().path()).unwrap();
            for cut in [data.len(), data.len() / 2, data.len() / 3] {
                bodies::run(target, &data[..cut]);
            }
            inputs += 1;
        }
        assert!(inputs > 0, "{target} has no inputs");
    }
}
