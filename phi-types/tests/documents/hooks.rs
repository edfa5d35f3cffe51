//! The table of hooks: a row for every point, each cell of it shown by tests that exist.

use std::fs;

use crate::sources::{body, code, root, rows, tests};

/// The points of the code, in the words of the methods.
fn points() -> Vec<String> {
    let text = fs::read_to_string(root().join("phi-types/src/configuration.rs")).unwrap();
    let body = body(&text, "pub enum Point {").unwrap();
    let variants = body.iter().filter_map(|line| line.trim().strip_suffix(','));
    let points = variants.map(|variant| {
        let mut snake = String::new();
        for letter in variant.chars() {
            if letter.is_ascii_uppercase() && !snake.is_empty() {
                snake.push('_');
            }
            snake.push(letter.to_ascii_lowercase());
        }
        snake
    });
    points.collect()
}

fn methods(page: &str) -> Vec<String> {
    let rows = rows(page, 5).into_iter();
    rows.map(|row| code(&row[0])[0].to_owned()).collect()
}

#[test]
fn every_point_has_a_row_in_both_pages_in_the_order_of_the_code() {
    let points = points();
    assert!(points.contains(&"before_tool".to_owned()), "{points:?}");
    for page in ["phi-loop/docs/hooks.md", "docs/hooks.md"] {
        assert_eq!(methods(page), points, "{page}");
    }
}

#[test]
fn every_cell_of_the_table_names_tests_that_exist() {
    let tests = tests();
    let mut missing = Vec::new();
    for row in rows("docs/hooks.md", 5) {
        for cell in &row[1..] {
            let named = code(cell);
            assert!(!named.is_empty(), "{}: nothing shows {cell:?}", row[0]);
            let unknown = named.into_iter().filter(|name| !tests.contains(*name));
            missing.extend(unknown.map(|name| format!("{}: {name}", row[0])));
        }
    }
    assert!(missing.is_empty(), "no such test: {missing:#?}");
}
