//! The smallest program that serves as a compiler: what the product's binary does for its hidden subcommand. The tests
//! of this crate start it, so that the real child is tested.

fn main() -> std::process::ExitCode {
    heddle_host::compile_child_main()
}
