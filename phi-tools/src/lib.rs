//! Built-in tools and the registry of phi.
//!
//! A [`Registry`] makes tools for a [`Workspace`]: the folder that an agent works in, with the
//! [`Policy`] that its tools keep. A typed function becomes a tool with [`FunctionTool`].
//!
//! ```
//! # async fn example(context: phi_types::ToolContext) -> Result<(), Box<dyn std::error::Error>> {
//! use phi_tools::{Registry, Workspace};
//! use phi_types::RawJson;
//!
//! let workspace = Workspace::open(std::env::temp_dir())?;
//! let bash = Registry::built_in().make("bash", &workspace)?;
//! let arguments = RawJson::parse(r#"{"command": "echo hello"}"#)?;
//! bash.validate(&arguments)?;
//! let result = bash.call(arguments, context).await;
//! assert_eq!(result.content, [phi_types::Content::text("hello\n")]);
//! # Ok(())
//! # }
//! # let effect = phi_types::EffectId { loop_id: "s.c.1".parse().unwrap(), seq: 1 };
//! # let context = phi_types::ToolContext::new("s".parse().unwrap(), effect, std::sync::Arc::new(()));
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(example(context)).unwrap();
//! ```
//!
//! # The six tools
//!
//! | name | arguments | effect class |
//! |---|---|---|
//! | `bash` | `command`, `timeout_ms?` | at most once |
//! | `read_file` | `path`, `offset?`, `limit?` | pure |
//! | `write_file` | `path`, `content` | idempotent |
//! | `edit_file` | `path`, `edits: [{old_text, new_text}]` | at most once |
//! | `list_files` | `path?`, `glob?`, `limit?` | pure |
//! | `search` | `pattern`, `path?`, `glob?`, `limit?` | pure |
//!
//! [`Registry::with_context_tools`] adds two more, with which a model changes what it reads. Both are
//! pure: they ask their loop for the change, which takes effect when the turn has all its results.
//!
//! | name | arguments |
//! |---|---|
//! | `prune_context` | `tags`, `memo?` |
//! | `revert_context` | `tag`, `category`, `reason?`, `summary` |
//!
//! **Disclosure.** [`Registry::with_disclosure`] and [`disclosed`] show a model the first sentence and
//! the names of the arguments of each tool; `tool_help` tells the rest on demand.
//!
//! **Files.** Paths are resolved by the kernel beneath the held folder (`openat2`), so neither `..`
//! nor a link leads out, whatever changes meanwhile; a link with an absolute target counts as
//! leading out. Only regular files are opened. A write makes a temporary file beside its target and
//! renames it: mode and owner stay, further hard links and extended attributes do not. A change is
//! refused where the file is not what the agent last read or wrote; a file that it never read may
//! be changed, since an edit must quote what it replaces.
//!
//! **Commands.** `bash` (else `sh`) runs in a session of its own with standard input closed and a
//! listed environment. Before the call returns, times out or is dropped, all that the command
//! started is killed, also what left its session and lost its parent: each process carries a mark,
//! its soft and hard `RLIMIT_RTTIME`, that its children inherit and that no two calls share.
//! What this cannot do: kill processes of another user (a result says how many are left); find a
//! process that lowered that limit itself and whose parent has ended; clean up when this process is
//! itself killed with `SIGKILL`; undo work handed to a daemon that ran before the call.
//!
//! **Limits.** Results hold [`Policy::output_bytes_max`] bytes of text and say what they leave out.
//! Tools need Linux 5.6 or later with `/proc` mounted, and a tokio runtime with I/O and time.

mod bash;
mod beneath;
mod blocking;
mod capture;
mod context;
mod disclosure;
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

pub use disclosure::{TOOL_HELP, disclosed};
pub use error::WorkspaceError;
pub use function::{FunctionTool, IntoToolResult};
pub use registry::{DEFAULT_TOOLS, Registry, RegistryError};
pub use schema::InvalidTool;
pub use workspace::{PASSED_VARIABLES, Policy, Workspace};
