//! What an error out of wasmtime means: every end of a guest gets a kind from the closed list, and a finer word.
//!
//! Our own refusals carry their kind; wasmtime's traps have codes; what the canonical ABI refuses has only messages,
//! and those are read here and nowhere else.

use crate::limiter::Refused;
use crate::refusal::Refusal;
use heddle_core::json::Json;
use heddle_core::outcome::{Failure, FailureKind};
use heddle_core::value::{Map, Value};
use std::sync::Arc;
use wasmtime::{Trap, WasmBacktrace};

/// Turns the end of a guest into the attempt's failure. `refused` is what the memory meter refused last, if anything.
pub(crate) fn classify(error: &wasmtime::Error, refused: Option<Refused>) -> Failure {
    let mut failure = if let Some(refusal) = error.downcast_ref::<Refusal>() {
        let mut failure = Failure::new(refusal.kind, refusal.message.clone());
        failure.code.clone_from(&refusal.code);
        if refusal.data.is_some() {
            return Failure { data: refusal.data.clone(), ..failure };
        }
        failure
    } else if let Some(trap) = error.downcast_ref::<Trap>() {
        of_trap(*trap, refused)
    } else {
        of_message(error, refused)
    };
    failure.data = backtrace(error);
    failure
}

fn of_trap(trap: Trap, refused: Option<Refused>) -> Failure {
    match trap {
        Trap::OutOfFuel => Failure::new(
            FailureKind::FuelExhausted,
            "the fuel of the attempt ran out; raise `fuel`, or do less in one step",
        ),
        Trap::Interrupt => Failure::new(
            FailureKind::CpuDeadline,
            "the attempt used more CPU time than `limits.cpu_ms` allows",
        ),
        Trap::StackOverflow => Failure::new(
            FailureKind::StackOverflow,
            "the guest's stack overflowed (`limits.wasm_stack_bytes`); recurse less",
        ),
        _ => match refused {
            // What a guest does when it cannot get memory; a division by zero is still a division by zero.
            Some(refused) if is_helpless(trap) => out_of(refused),
            _ => Failure::new(FailureKind::Trap, format!("the guest trapped: {trap}"))
                .with_code(trap_code(trap)),
        },
    }
}

fn is_helpless(trap: Trap) -> bool {
    matches!(
        trap,
        Trap::UnreachableCodeReached
            | Trap::MemoryOutOfBounds
            | Trap::TableOutOfBounds
            | Trap::IndirectCallToNull
            | Trap::AllocationTooLarge
    )
}

fn out_of(refused: Refused) -> Failure {
    let kind = refused.kind();
    match refused {
        Refused::Memory => Failure::new(kind, "the guest needs more memory than its limit (`memory_bytes`)"),
        Refused::Table => {
            Failure::new(kind, "the guest needs more table elements than `limits.table_elements`")
        }
        Refused::Node => {
            let mut failure =
                Failure::new(kind, "the node has no memory left for guests (`limits.guest_memory_bytes`)");
            failure.retryable = true;
            failure.with_code("node_memory")
        }
    }
}

fn trap_code(trap: Trap) -> &'static str {
    match trap {
        Trap::MemoryOutOfBounds => "memory_out_of_bounds",
        Trap::HeapMisaligned => "heap_misaligned",
        Trap::TableOutOfBounds => "table_out_of_bounds",
        Trap::IndirectCallToNull => "indirect_call_to_null",
        Trap::BadSignature => "indirect_call_type",
        Trap::IntegerOverflow => "integer_overflow",
        Trap::IntegerDivisionByZero => "integer_divide_by_zero",
        Trap::BadConversionToInteger => "bad_conversion_to_integer",
        Trap::UnreachableCodeReached => "unreachable",
        Trap::NullReference => "null_reference",
        Trap::AllocationTooLarge => "allocation_too_large",
        Trap::CannotEnterComponent => "cannot_enter_component",
        Trap::CannotLeaveComponent => "cannot_leave_component",
        Trap::InvalidChar => "invalid_char",
        Trap::StringOutOfBounds => "string_out_of_bounds",
        Trap::ListOutOfBounds => "list_out_of_bounds",
        Trap::InvalidDiscriminant => "invalid_discriminant",
        Trap::UnalignedPointer => "unaligned_pointer",
        _ => "other",
    }
}

/// What wasmtime says only in words, and the finer word for each.
const BOUNDARY: &[(&str, &str)] = &[
    ("realloc return", "bad_realloc"),
    ("string pointer", "string_out_of_bounds"),
    ("list pointer", "list_out_of_bounds"),
    ("pointer not aligned", "unaligned_pointer"),
    ("pointer out of bounds", "pointer_out_of_bounds"),
    ("utf-8", "invalid_utf8"),
    ("utf8", "invalid_utf8"),
    ("utf16", "invalid_utf16"),
    ("discriminant", "invalid_discriminant"),
    ("char", "invalid_char"),
    ("handle", "invalid_handle"),
    ("resource", "invalid_handle"),
    ("borrow", "invalid_handle"),
    ("byte length", "length_overflow"),
    ("size overflow", "length_overflow"),
];

/// What wasmtime says of an instance that starts too large, and of a guest whose allocator had nothing to give.
const OUT_OF_MEMORY: &[&str] = &["exceeds memory limits", "exceeds table limits", "realloc return"];

fn of_message(error: &wasmtime::Error, refused: Option<Refused>) -> Failure {
    let message = root_message(error);
    if message.contains("fuel allocated for hostcalls has been exhausted") {
        return Failure::new(
            FailureKind::HostcallDataLimit,
            "one call carried more data than `limits.hostcall_bytes` allows",
        );
    }
    if message.contains("handle limit exceeded") || message.contains("too many active lends") {
        return Failure::new(
            FailureKind::HandleLimit,
            "the guest holds more handles than `limits.component_handles` allows",
        );
    }
    if let Some(refused) = refused
        && OUT_OF_MEMORY.iter().any(|words| message.contains(words))
    {
        return out_of(refused);
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return Failure::new(FailureKind::Internal, format!("the pool of sandboxes is too small: {message}"));
    }
    let lower = message.to_ascii_lowercase();
    let code = BOUNDARY
        .iter()
        .find(|(words, _)| lower.contains(words))
        .map_or("component_boundary", |(_, code)| code);
    Failure::new(FailureKind::Trap, format!("the guest broke the rules of its interface: {message}"))
        .with_code(code)
}

fn root_message(error: &wasmtime::Error) -> String {
    error.root_cause().to_string()
}

/// At most twenty frames, innermost first, as `{"backtrace": [..]}`.
fn backtrace(error: &wasmtime::Error) -> Option<Json> {
    let frames: Vec<Value> = error
        .downcast_ref::<WasmBacktrace>()?
        .frames()
        .iter()
        .take(crate::engine::BACKTRACE_FRAMES)
        .map(|frame| {
            let module = frame.module().name().unwrap_or("module");
            let function =
                frame.func_name().map_or_else(|| format!("function {}", frame.func_index()), short);
            let at = frame.module_offset().map(|offset| format!(" @ {offset:#x}")).unwrap_or_default();
            Value::text(format!("{module}!{function}{at}"))
        })
        .collect();
    if frames.is_empty() {
        return None;
    }
    let mut data = Map::new();
    data.insert("backtrace".into(), Value::list(frames));
    Some(Json::from_value(Value::Map(Arc::new(data))))
}

/// Names come from the guest and can be of any length.
fn short(name: &str) -> String {
    crate::capability::log::printable(name, 160)
}
