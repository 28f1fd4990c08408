//! Colours and cursors, where there is a terminal that has them and nobody set `NO_COLOR`.

use std::io::IsTerminal as _;

/// Whether lines on stderr may have colours.
pub fn stderr_has_colour() -> bool {
    std::io::stderr().is_terminal() && colour_wanted()
}

/// Whether a picture on stderr may be drawn over.
pub fn stderr_is_live() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn colour_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// A colour of the terminal's own palette.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// It went well.
    Green,
    /// It went wrong.
    Red,
    /// Look at this.
    Yellow,
    /// It is under way.
    Cyan,
    /// It matters less.
    Dim,
    /// It matters more.
    Bold,
}

/// Paints text for a terminal.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    on: Colouring,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colouring {
    On,
    Off,
}

impl Paint {
    /// For stderr as it is.
    pub fn for_stderr() -> Paint {
        Paint { on: if stderr_has_colour() { Colouring::On } else { Colouring::Off } }
    }
    /// For stdout as it is.
    pub fn for_stdout() -> Paint {
        let on = std::io::stdout().is_terminal() && colour_wanted();
        Paint { on: if on { Colouring::On } else { Colouring::Off } }
    }
    /// Without colours.
    pub fn plain() -> Paint {
        Paint { on: Colouring::Off }
    }
    /// The text in this colour.
    pub fn with(self, colour: Colour, text: &str) -> String {
        let code = match colour {
            Colour::Green => 32,
            Colour::Red => 31,
            Colour::Yellow => 33,
            Colour::Cyan => 36,
            Colour::Dim => 2,
            Colour::Bold => 1,
        };
        match self.on {
            Colouring::On => format!("\x1b[{code}m{text}\x1b[0m"),
            Colouring::Off => text.to_owned(),
        }
    }
    /// The colour of a status of a step or a run.
    pub fn status(self, status: &str, text: &str) -> String {
        let colour = match status {
            "succeeded" => Colour::Green,
            "failed" | "compensationFailed" => Colour::Red,
            "cancelled" | "interrupted" | "retrying" | "waiting" => Colour::Yellow,
            "running" => Colour::Cyan,
            _ => Colour::Dim,
        };
        self.with(colour, text)
    }
}

/// Text from outside, made harmless for a terminal: control characters are shown, not obeyed.
pub fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}
