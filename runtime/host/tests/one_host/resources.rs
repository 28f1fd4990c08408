//! Cases 1 to 18: attacks on what a guest is lent. Time, stack, memory, tables, instances, traps.

use super::attack::{Attack, DONE, Ends, NOW, attack, ever, refused, times, trap};
use heddle_core::outcome::FailureKind;
use heddle_core::outcome::FailureKind::{
    CpuDeadline, FuelExhausted, GuestExit, HostcallLimit, MemoryLimit, StackOverflow, TableLimit,
};
use heddle_host::testkit::Guest;

pub(crate) fn all() -> Vec<Attack> {
    [time(), stack(), memory(), tables(), structure(), bulk(), start(), traps(), leavings()]
        .into_iter()
        .flatten()
        .collect()
}

fn time() -> Vec<Attack> {
    let ask = || Guest::tool("asks").imports(NOW).body(&ever("(drop (call $now))"));
    vec![
        attack(1, "spin", Guest::tool("spins").body(&ever("")), Ends::Fails(FuelExhausted)),
        attack(2, "spin with fuel", Guest::tool("spins").body(&ever("")), Ends::Fails(CpuDeadline)).within(
            |l| {
                l.fuel = 100_000_000_000;
                l.cpu_ms = 100;
            },
        ),
        attack(13, "ask", ask(), Ends::Fails(FuelExhausted)),
        attack(13, "ask with fuel", ask(), Ends::Fails(HostcallLimit)).fuelled(),
    ]
}

fn stack() -> Vec<Attack> {
    let deep = "(func $deep (param i32) (result i32) (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))";
    let mutual = "(func $deep (param i32) (result i32) (i32.add (call $pong (local.get 0)) (i32.const 1)))
        (func $pong (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))";
    let asks = "(func $deep (param i32) (result i32) (drop (call $now)) (i32.add (call $deep (local.get 0)) (i32.const 1)))";
    let call = "(call $deep (i32.const 0))";
    [
        ("deep", Guest::tool("deep").items(deep).body(call)),
        ("mutual", Guest::tool("deep").items(mutual).body(call)),
        ("deep in the allocator", Guest::tool("deep").items(deep).realloc(call)),
        ("deep with host calls", Guest::tool("deep").imports(NOW).items(asks).body(call)),
    ]
    .map(|(name, guest)| attack(3, name, guest, Ends::Fails(StackOverflow)))
    .into()
}

fn memory() -> Vec<Attack> {
    let grow =
        "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)";
    let invalid = Ends::Refused(FailureKind::ComponentInvalid);
    vec![
        attack(4, "grow", Guest::tool("grows").body(grow), Ends::Fails(MemoryLimit)),
        attack(6, "declare too much", Guest::tool("huge").memory("3000"), invalid),
        attack(6, "begin with too much", Guest::tool("large").memory("200"), Ends::Fails(MemoryLimit))
            .within(|l| l.memory_bytes = 100 << 16),
        attack(
            11,
            "grow at the maximum",
            {
                let body = times(1_000_000, "(drop (memory.grow (i32.const 1)))") + DONE;
                Guest::tool("grows").memory("2 2").body(&body)
            },
            Ends::Succeeds("1"),
        )
        .fuelled(),
        attack(
            11,
            "grow for ever",
            Guest::tool("grows").memory("2 2").body(&ever("(drop (memory.grow (i32.const 1)))")),
            Ends::Fails(FuelExhausted),
        ),
    ]
}

fn tables() -> Vec<Attack> {
    let grow = |delta: &str| {
        let body = format!(
            "(if (i32.eq (table.grow $t (ref.null func) (i32.const {delta})) (i32.const -1)) (then unreachable)) (i32.const 0)"
        );
        Guest::tool("grows").items("(table $t 1 funcref)").body(&body)
    };
    let declare = |min: &str| Guest::tool("huge").items(&format!("(table $t {min} funcref)"));
    vec![
        attack(8, "grow a table by 2^31", grow("0x80000000"), Ends::Fails(TableLimit)).fuelled(),
        attack(8, "grow a table by 2^32-1", grow("-1"), Ends::Fails(TableLimit)).fuelled(),
        attack(8, "grow a table by one too many", grow("100000"), Ends::Fails(TableLimit)).fuelled(),
        attack(8, "declare a table", declare("4294967295"), Ends::Refused(FailureKind::ComponentInvalid)),
    ]
}

fn structure() -> Vec<Attack> {
    let form = |module: &str| {
        let component = format!("(component (core {}", module.strip_prefix('(').unwrap()) + ")";
        wat::parse_str(&component).unwrap()
    };
    let many = |module: &str| Guest::tool("many").ballast(module, 9_999).build();
    let preview1 = r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32))))"#;
    vec![
        refused(9, "instances", many("(module)")),
        refused(9, "memories", many("(module (memory 0))")),
        refused(9, "tables", many("(module (table 0 funcref))")),
        refused(14, "threads", form("(module (memory 1 1 shared))")),
        refused(14, "memory64", form("(module (memory i64 1))")),
        refused(14, "gc", form("(module (type (struct (field i32))))")),
        refused(14, "exceptions", form("(module (tag))")),
        refused(14, "async", wat::parse_str("(component (type (stream u8)))").unwrap()),
        refused(15, "module", wat::parse_str("(module)").unwrap()),
        refused(15, "preview 1", wat::parse_str(preview1).unwrap()),
        refused(15, "text", b"(component)".to_vec()),
    ]
}

fn bulk() -> Vec<Attack> {
    let fill = "(memory.fill (i32.const 65536) (i32.const 1) (i32.const 124452864))";
    let copy = "(memory.copy (i32.const 65536) (i32.const 65537) (i32.const 124452863))";
    [("fill", fill), ("copy", copy)]
        .map(|(name, what)| {
            let guest = Guest::tool(name).memory("1900").body(&ever(what));
            attack(10, name, guest, Ends::Fails(FuelExhausted)).within(|l| l.fuel = 300_000_000)
        })
        .into()
}

fn start() -> Vec<Attack> {
    let spin = "(loop $again (br $again))";
    let at_once = Guest::tool("start").items(&format!("(func $f {spin}) (start $f)"));
    let later = Guest::tool("later").imports(NOW).items(&format!(
        "(func $f (if (i64.ne (call $now) (i64.const 946684800000)) (then {spin}))) (start $f)"
    ));
    vec![
        attack(12, "spin at the start", at_once, Ends::Refused(FuelExhausted)),
        attack(12, "spin at the start, later", later, Ends::Fails(FuelExhausted)),
        attack(12, "spin in `describe`", Guest::tool("d").describe(&ever("")), Ends::Refused(FuelExhausted)),
    ]
}

fn traps() -> Vec<Attack> {
    let items = "(type $other (func (param f64))) (table $t 4 funcref) (elem (i32.const 0) $alloc)";
    let mut all: Vec<Attack> = [
        ("(unreachable)", "unreachable"),
        ("(i32.div_s (i32.const 1) (i32.const 0))", "integer_divide_by_zero"),
        ("(i32.load (i32.const 0x7ffffff0))", "memory_out_of_bounds"),
        ("(call_indirect $t (type $other) (f64.const 1) (i32.const 0)) (i32.const 0)", "indirect_call_type"),
        ("(call_indirect $t (type $other) (f64.const 1) (i32.const 9)) (i32.const 0)", "table_out_of_bounds"),
    ]
    .map(|(body, code)| attack(16, code, Guest::tool("traps").items(items).body(body), trap(code)))
    .into();
    let imports = r#"(import "wasi:cli/exit@0.2.6" "exit" (func $exit (param i32)))
        (import "wasi:cli/exit@0.2.6" "exit-with-code" (func $code (param i32)))"#;
    for (body, code) in [("(call $exit (i32.const 0))", "0"), ("(call $code (i32.const 3))", "3")] {
        let guest = Guest::tool("leaves").world("import wasi:cli/exit@0.2.6;").imports(imports);
        let guest = guest.body(&format!("{body} (i32.const 0)"));
        all.push(attack(18, &format!("exit {code}"), guest, Ends::Says(GuestExit, code)));
    }
    all
}

/// One fills memory and table and traps; the other one, which may get its place, finds nothing.
fn leavings() -> Vec<Attack> {
    let leaves =
        Guest::tool("leaves").memory("800").items("(table $t 5000 funcref) (elem declare func $alloc)").body(
            "(memory.fill (i32.const 65536) (i32.const 170) (i32.const 52363264))
         (table.fill $t (i32.const 0) (ref.func $alloc) (i32.const 5000)) (unreachable)",
        );
    let looks = Guest::tool("looks").memory("800").items("(table $t 5000 funcref)").body(
        "(local.set $a (i32.const 65600))
        (loop $next
          (local.set $wide (i64.or (local.get $wide) (i64.load (local.get $a))))
          (br_if $next (i32.lt_u (local.tee $a (i32.add (local.get $a) (i32.const 8))) (i32.const 52428800))))
        (loop $next
          (if (i32.eqz (ref.is_null (table.get $t (local.get $c)))) (then (local.set $wide (i64.const 1))))
          (br_if $next (i32.lt_u (local.tee $c (i32.add (local.get $c) (i32.const 1))) (i32.const 5000))))
        (call $number (local.get $wide))",
    );
    vec![
        attack(17, "leave something", leaves, trap("unreachable")),
        attack(17, "look for it", looks, Ends::Succeeds("0")).fuelled(),
    ]
}
