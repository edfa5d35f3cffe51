//! Built-in tools and the registry of phi.

mod bash;
mod beneath;
mod blocking;
mod edit_file;
mod edits;
mod error;
mod function;
mod list_files;
mod mark;
mod read_file;
mod registry;
mod replace;
mod schema;
mod search;
mod text;
mod tree;
mod walk;
mod workspace;
mod write_file;

pub use error::WorkspaceError;
pub use function::{FunctionTool, IntoToolResult};
pub use registry::{DEFAULT_TOOLS, Registry, RegistryError};
pub use schema::InvalidTool;
pub use workspace::{PASSED_VARIABLES, Policy, Workspace};
