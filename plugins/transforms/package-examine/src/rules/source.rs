//! Where the package comes from, and whether it is certain to be the same one tomorrow.

use super::{Case, finding};
use crate::{Finding, Severity, SourceKind};

/// A source line taken apart: `git+https://host/path?branch=main#commit`.
struct Place<'a> {
    url: &'a str,
    host: &'a str,
    /// What follows `?`, such as `tag=v1`.
    reference: Option<&'a str>,
    /// What follows `#`.
    commit: Option<&'a str>,
}

fn place(source: &str) -> Place<'_> {
    let rest = source.split_once('+').map_or(source, |(_, rest)| rest);
    let (rest, commit) = rest.split_once('#').map_or((rest, None), |(rest, commit)| (rest, Some(commit)));
    let (url, reference) =
        rest.split_once('?').map_or((rest, None), |(url, reference)| (url, Some(reference)));
    let after_scheme = url.split_once("://").map_or(url, |(_, after)| after);
    let authority = after_scheme.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default();
    Place { url, host, reference, commit }
}

pub(super) fn allowed(case: &Case<'_>) -> Vec<Finding> {
    let Some(source) = &case.package.source else { return Vec::new() };
    let place = place(source);
    let (rule, allowed, what, key) = match case.package.source_kind {
        SourceKind::Registry | SourceKind::OtherRegistry => {
            ("registry-not-allowed", &case.policy.allowed_registries, place.url, "allowedRegistries")
        }
        SourceKind::Git => {
            ("git-host-not-allowed", &case.policy.allowed_git_hosts, place.host, "allowedGitHosts")
        }
        SourceKind::Path | SourceKind::Unknown => return Vec::new(),
    };
    let Some(allowed) = allowed else { return Vec::new() };
    let fits = |entry: &String| match case.package.source_kind {
        SourceKind::Registry => entry == "crates.io" || place.url.starts_with(entry.as_str()),
        SourceKind::Git => entry == place.host,
        _ => place.url.starts_with(entry.as_str()),
    };
    if allowed.iter().any(fits) {
        return Vec::new();
    }
    let message = format!("{} comes from `{what}`, which the policy does not allow", case.title());
    let advice = format!(
        "Take it from an allowed place, or add this one to `{key}`; it is pulled in by {}",
        case.pulled_in_by()
    );
    vec![finding(rule, Severity::High, message, advice)]
}

pub(super) fn transport(case: &Case<'_>) -> Vec<Finding> {
    let Some(source) = &case.package.source else { return Vec::new() };
    let url = place(source).url;
    if !(url.starts_with("http://") || url.starts_with("git://")) {
        return Vec::new();
    }
    let message = format!("{} is fetched from `{url}` without encryption", case.title());
    vec![finding(
        "insecure-transport",
        Severity::High,
        message,
        "Use `https` or `ssh`: anyone on the way could change it",
    )]
}

pub(super) fn git(case: &Case<'_>) -> Vec<Finding> {
    let (SourceKind::Git, Some(source)) = (case.package.source_kind, &case.package.source) else {
        return Vec::new();
    };
    let place = place(source);
    if place.commit.is_none_or(str::is_empty) {
        let message =
            format!("{} comes from git at `{}` and the lock file names no commit", case.title(), place.url);
        return vec![finding("git-unpinned", Severity::High, message, "Let Cargo write the lock file anew")];
    }
    let (severity, follows) = match place.reference {
        Some(reference) if reference.starts_with("rev=") => (Severity::Low, "a fixed commit".to_owned()),
        Some(reference) if reference.starts_with("tag=") => {
            (Severity::Low, format!("the tag `{}`, which can be moved", &reference["tag=".len()..]))
        }
        Some(reference) => (Severity::Medium, format!("`{reference}`")),
        None => (Severity::Medium, "the default branch".to_owned()),
    };
    let message = format!("{} comes from git at `{}` and follows {follows}", case.title(), place.url);
    let advice = match severity {
        Severity::Low => {
            "Prefer a release from the registry: git sources have no checksum and cannot be yanked"
        }
        _ => {
            "Pin it with `rev = \"...\"`, or use a release: the next `cargo update` takes whatever is there then"
        }
    };
    vec![finding("git-source", severity, message, advice)]
}

pub(super) fn elsewhere(case: &Case<'_>) -> Vec<Finding> {
    let Some(source) = &case.package.source else { return Vec::new() };
    match case.package.source_kind {
        SourceKind::OtherRegistry if case.policy.allowed_registries.is_none() => {
            let message = format!(
                "{} comes from the registry `{}` and not from crates.io",
                case.title(),
                place(source).url
            );
            let advice = "Name the registries that you trust in the policy, under `allowedRegistries`";
            vec![finding("other-registry", Severity::Low, message, advice)]
        }
        SourceKind::Unknown => {
            let message =
                format!("{} comes from `{source}`, a kind of source that is not known here", case.title());
            vec![finding("unknown-source", Severity::Medium, message, "Find out what it is")]
        }
        _ => Vec::new(),
    }
}

pub(super) fn checksum(case: &Case<'_>) -> Vec<Finding> {
    if !matches!(case.package.source_kind, SourceKind::Registry | SourceKind::OtherRegistry) {
        return Vec::new();
    }
    let hex = |checksum: &str| checksum.len() == 64 && checksum.bytes().all(|byte| byte.is_ascii_hexdigit());
    match &case.package.checksum {
        Some(checksum) if hex(checksum) => Vec::new(),
        Some(_) => {
            let message = format!("the checksum of {} is not 64 hexadecimal digits", case.title());
            let advice = "Restore the lock file from version control: Cargo does not write such a line";
            vec![finding("checksum-malformed", Severity::High, message, advice)]
        }
        None => {
            let message = format!(
                "{} comes from a registry and has no checksum, so a changed one would go unnoticed",
                case.title()
            );
            let advice = "Delete its entry and let Cargo write it anew, or find out why the registry gives no checksum";
            vec![finding("checksum-missing", Severity::Medium, message, advice)]
        }
    }
}
