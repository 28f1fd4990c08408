//! The one binary. Everything is in the library, so that tests reach it.

use std::process::ExitCode;

/// Runs pass between threads, and their memory with them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The compiler is this same program in a process of its own: nothing else may have been started in it.
    if std::env::args_os().nth(1).is_some_and(|command| command == heddle_server::app::COMPILE_COMMAND) {
        return heddle_host::compile_child_main();
    }
    heddle_server::cli::main()
}
