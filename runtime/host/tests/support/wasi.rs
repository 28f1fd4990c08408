//! The words of WASI that several guests speak.

/// A world and imports that write to stdout and stderr: `$stdout`, `$stderr`, `$print (stream ptr len result)`.
pub const STDIO_WORLD: &str =
    "import wasi:cli/stdout@0.2.6; import wasi:cli/stderr@0.2.6; import wasi:io/streams@0.2.6;";
pub const STDIO_IMPORTS: &str = r#"
    (import "wasi:cli/stdout@0.2.6" "get-stdout" (func $stdout (result i32)))
    (import "wasi:cli/stderr@0.2.6" "get-stderr" (func $stderr (result i32)))
    (import "wasi:io/streams@0.2.6" "[method]output-stream.blocking-write-and-flush" (func $print (param i32 i32 i32 i32)))"#;

/// A world, imports and a body that sleep for a hundred years.
pub const SLEEP_WORLD: &str = "import wasi:io/poll@0.2.6; import wasi:clocks/monotonic-clock@0.2.6;";
pub const SLEEP_IMPORTS: &str = r#"
    (import "wasi:clocks/monotonic-clock@0.2.6" "subscribe-duration" (func $sleep (param i64) (result i32)))
    (import "wasi:io/poll@0.2.6" "[method]pollable.block" (func $block (param i32)))
    (import "wasi:io/poll@0.2.6" "poll" (func $poll (param i32 i32 i32)))"#;
pub const SLEEP_FOREVER: &str = "(call $block (call $sleep (i64.const 3155760000000000000))) (call $ok (local.get $ptr) (local.get $len))";
