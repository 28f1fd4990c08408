//! How many tests passed, read from what the runners say at their end.

use std::ops::AddAssign;

/// Tests, or checks that count as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) passed: u32,
    pub(super) failed: u32,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Count) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl Count {
    /// Checks that all passed.
    pub(super) fn passed(passed: u32) -> Count {
        Count { passed, failed: 0 }
    }

    /// What a line says: nothing, unless it is the summary of cargo-nextest or of a test program.
    pub(super) fn of(line: &str) -> Count {
        let line = without_colours(line);
        let counts = match (line.split_once(" run: "), line.split_once("test result: ")) {
            (Some((head, counts)), _) if head.trim_start().starts_with("Summary [") => counts,
            (_, Some(("", counts))) => counts,
            _ => return Count::default(),
        };
        let words: Vec<&str> = counts.split([' ', ',', ';', '(', ')']).filter(|w| !w.is_empty()).collect();
        let number_before = |names: &[&str]| -> u32 {
            let pairs = words.windows(2).filter(|pair| names.contains(&pair[1].trim()));
            pairs.filter_map(|pair| pair[0].parse::<u32>().ok()).sum()
        };
        // nextest counts what timed out, and what could not be started, apart from what failed.
        Count { passed: number_before(&["passed"]), failed: number_before(&["failed", "timed", "exec"]) }
    }
}

fn without_colours(line: &str) -> String {
    let mut parts = line.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or("", |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::Count;

    #[test]
    fn summaries_are_read() {
        let of = |line: &str| (Count::of(line).passed, Count::of(line).failed);
        assert_eq!(of("     Summary [   1.234s] 123 tests run: 123 passed (2 slow), 4 skipped\n"), (123, 0));
        assert_eq!(
            of(
                "     Summary [  61.0s] 9 tests run: 5 passed, 2 failed, 1 timed out, 1 exec failed, 0 skipped"
            ),
            (5, 4)
        );
        assert_eq!(
            of(
                "\x1b[32;1m     Summary\x1b[0m [   0.1s] \x1b[1m1\x1b[0m test run: \x1b[1m1\x1b[0m \x1b[32;1mpassed\x1b[0m, 0 skipped"
            ),
            (1, 0)
        );
        assert_eq!(
            of(
                "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 2 filtered out; finished in 0.01s"
            ),
            (3, 1)
        );
        assert_eq!(of("        PASS [   0.005s] heddle-core plan::tests::12 passed"), (0, 0));
    }
}
