//! Hooks that claim every point and change nothing.

use phi_loop::Hooks;
use phi_types::Point;

/// Hooks that claim every point and change nothing.
#[derive(Debug, Clone, Copy)]
pub struct EveryPoint;

impl Hooks for EveryPoint {
    fn points(&self) -> Vec<Point> {
        vec![
            Point::FilterInput,
            Point::BeforeLoop,
            Point::BeforeTurn,
            Point::BeforeModel,
            Point::BeforeTool,
            Point::BeforeToolUpdate,
            Point::BeforeCompaction,
            Point::BeforeEnd,
            Point::AfterModel,
            Point::AfterTool,
            Point::AfterToolUpdate,
            Point::AfterCompaction,
            Point::OnError,
            Point::AfterTurn,
            Point::AfterLoop,
        ]
    }
}
