//! Headers, as the guest holds them. What they take is memory of the node, and held against the guest.

use super::kinds::HeaderError;
use crate::capability::held::Hold;
use crate::guest::{Cx, Guest, carried, enter};
use crate::refusal::Refusal;
use heddle_core::outcome::FailureKind;
use heddle_core::outside::is_ours;
use wasmtime::component::{LinkerInstance, Resource, ResourceType};

/// What an entry costs beside its text.
const ENTRY_BYTES: usize = 64;

/// Headers.
#[derive(Debug, Default)]
pub(super) struct Fields {
    entries: Vec<(String, Vec<u8>)>,
    /// Whether they are those of an answer or of a request that has them.
    is_fixed: bool,
    /// What they take.
    hold: Option<Hold>,
}

type Entries = Vec<(String, Vec<u8>)>;
type Changed = Result<(), HeaderError>;

/// The name of a header as it is kept, where it may be set.
fn named(name: &str) -> Result<String, HeaderError> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(HeaderError::InvalidSyntax);
    }
    let name = name.to_ascii_lowercase();
    // Libraries say how long a body is; it is looked at when the request goes.
    match is_ours(&name) && name != "content-length" {
        true => Err(HeaderError::Forbidden),
        false => Ok(name),
    }
}

fn entry(name: &str, value: Vec<u8>) -> Result<(String, Vec<u8>), HeaderError> {
    let is_plain = value.iter().all(|&b| (b >= 0x20 || b == b'\t') && b != 0x7f);
    match is_plain && str::from_utf8(&value).is_ok() {
        true => Ok((named(name)?, value)),
        false => Err(HeaderError::InvalidSyntax),
    }
}

impl Fields {
    /// As many as there may be, held for the guest.
    pub(super) fn hold(
        guest: &mut Guest,
        entries: Entries,
        is_fixed: bool,
    ) -> wasmtime::Result<Resource<Fields>> {
        let hold = held(guest, &entries)?;
        guest.push(Fields { entries, is_fixed, hold })
    }
    /// The headers of a request that is sent, and what its length is said to be.
    pub(super) fn sent(self) -> (Vec<(String, String)>, Option<String>) {
        let text = |value: Vec<u8>| String::from_utf8(value).unwrap_or_default();
        let mut entries: Vec<(String, String)> =
            self.entries.into_iter().map(|(name, value)| (name, text(value))).collect();
        let length =
            entries.iter().find(|(name, _)| name == "content-length").map(|(_, value)| value.clone());
        entries.retain(|(name, _)| name != "content-length");
        (entries, length)
    }
    pub(super) fn entries(&self) -> &Entries {
        &self.entries
    }
    /// From now on they are a request's.
    pub(super) fn fix(mut self) -> Fields {
        self.is_fixed = true;
        self
    }
}

fn weight(entries: &Entries) -> usize {
    entries.iter().map(|(name, value)| name.len() + value.len() + ENTRY_BYTES).sum()
}

fn held(guest: &Guest, entries: &Entries) -> wasmtime::Result<Option<Hold>> {
    let held = guest.http_held.hold(weight(entries) as u64);
    let refused = |why| wasmtime::Error::from(Refusal::new(FailureKind::HostcallDataLimit, why));
    held.map(Some).map_err(refused)
}

/// Changes headers that may be changed.
fn change(
    cx: &mut Cx<'_>,
    fields: &Resource<Fields>,
    change: impl FnOnce(&mut Entries) -> Changed,
) -> wasmtime::Result<(Changed,)> {
    let (most, most_bytes) = (cx.data().limits.http_headers as usize, cx.data().limits.http_header_bytes);
    let known = cx.data().table.get(fields)?;
    if known.is_fixed {
        return Ok((Err(HeaderError::Immutable),));
    }
    let mut entries = known.entries.clone();
    if let Err(fault) = change(&mut entries) {
        return Ok((Err(fault),));
    }
    if entries.len() > most || weight(&entries) as u64 > most_bytes + (most * ENTRY_BYTES) as u64 {
        let message = format!(
            "more headers than {most}, or more bytes of them than {most_bytes} (`limits.http_headers`, `limits.http_header_bytes`)"
        );
        return Err(Refusal::new(FailureKind::HostcallDataLimit, message).into());
    }
    // The old ones are given back before the new ones are held.
    let known = cx.data_mut().table.get_mut(fields)?;
    (known.hold, known.entries) = (None, Vec::new());
    let hold = held(cx.data(), &entries)?;
    let known = cx.data_mut().table.get_mut(fields)?;
    (known.hold, known.entries) = (hold, entries);
    Ok((Ok(()),))
}

fn weigh(entries: &Entries) -> usize {
    entries.iter().map(|(name, value)| name.len() + value.len()).sum()
}

pub(super) fn link(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    types.resource("fields", ResourceType::host::<Fields>(), |mut cx, rep| {
        cx.data_mut().table.delete(Resource::<Fields>::new_own(rep))?;
        Ok(())
    })?;
    types.func_wrap("[constructor]fields", |mut cx: Cx<'_>, (): ()| {
        enter(&mut cx, 0)?;
        Ok((cx.data_mut().push(Fields::default())?,))
    })?;
    types.func_wrap("[static]fields.from-list", |mut cx: Cx<'_>, (list,): (Entries,)| {
        enter(&mut cx, weigh(&list))?;
        let made = cx.data_mut().push(Fields::default())?;
        let read = |(name, value): (String, Vec<u8>)| entry(&name, value);
        let (changed,) = change(&mut cx, &made, |entries| {
            *entries = list.into_iter().map(read).collect::<Result<_, _>>()?;
            Ok(())
        })?;
        if let Err(fault) = changed {
            cx.data_mut().table.delete(made)?;
            return Ok((Err(fault),));
        }
        Ok((Ok::<_, HeaderError>(made),))
    })?;
    changing(types)?;
    types.func_wrap("[method]fields.get", |mut cx: Cx<'_>, (fields, name): (Resource<Fields>, String)| {
        enter(&mut cx, name.len())?;
        let entries = &cx.data().table.get(&fields)?.entries;
        let same = entries.iter().filter(|(other, _)| other.eq_ignore_ascii_case(&name));
        let values: Vec<Vec<u8>> = same.map(|(_, value)| value.clone()).collect();
        carried(&mut cx, values.iter().map(Vec::len).sum())?;
        Ok((values,))
    })?;
    types.func_wrap("[method]fields.has", |mut cx: Cx<'_>, (fields, name): (Resource<Fields>, String)| {
        enter(&mut cx, name.len())?;
        let entries = &cx.data().table.get(&fields)?.entries;
        Ok((entries.iter().any(|(other, _)| other.eq_ignore_ascii_case(&name)),))
    })?;
    types.func_wrap("[method]fields.entries", |mut cx: Cx<'_>, (fields,): (Resource<Fields>,)| {
        enter(&mut cx, 0)?;
        let entries = cx.data().table.get(&fields)?.entries.clone();
        carried(&mut cx, weigh(&entries))?;
        Ok((entries,))
    })?;
    types.func_wrap("[method]fields.clone", |mut cx: Cx<'_>, (fields,): (Resource<Fields>,)| {
        enter(&mut cx, 0)?;
        let entries = cx.data().table.get(&fields)?.entries.clone();
        Ok((Fields::hold(cx.data_mut(), entries, false)?,))
    })
}

fn changing(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    types.func_wrap(
        "[method]fields.set",
        |mut cx: Cx<'_>, (fields, name, values): (Resource<Fields>, String, Vec<Vec<u8>>)| {
            enter(&mut cx, name.len() + values.iter().map(Vec::len).sum::<usize>())?;
            change(&mut cx, &fields, |entries| {
                let new = values.into_iter().map(|value| entry(&name, value));
                let new = new.collect::<Result<Vec<_>, _>>()?;
                let name = named(&name)?;
                entries.retain(|(other, _)| *other != name);
                entries.extend(new);
                Ok(())
            })
        },
    )?;
    types.func_wrap(
        "[method]fields.delete",
        |mut cx: Cx<'_>, (fields, name): (Resource<Fields>, String)| {
            enter(&mut cx, name.len())?;
            change(&mut cx, &fields, |entries| {
                let name = named(&name)?;
                entries.retain(|(other, _)| *other != name);
                Ok(())
            })
        },
    )?;
    types.func_wrap(
        "[method]fields.append",
        |mut cx: Cx<'_>, (fields, name, value): (Resource<Fields>, String, Vec<u8>)| {
            enter(&mut cx, name.len() + value.len())?;
            change(&mut cx, &fields, |entries| {
                entries.push(entry(&name, value)?);
                Ok(())
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values() {
        assert_eq!(named("X-Key"), Ok("x-key".to_owned()));
        assert_eq!(named("Content-Length"), Ok("content-length".to_owned()));
        for ours in ["Host", "transfer-encoding", "Connection", "proxy-x", "Sec-Fetch", "traceparent"] {
            assert_eq!(named(ours), Err(HeaderError::Forbidden), "{ours}");
        }
        for bad in ["", "a b", "a\n", "ü"] {
            assert_eq!(named(bad), Err(HeaderError::InvalidSyntax), "{bad}");
        }
        assert!(entry("a", b"x\ty".to_vec()).is_ok());
        for bad in [&b"\r\n"[..], b"\0", b"\xff"] {
            assert_eq!(entry("a", bad.to_vec()), Err(HeaderError::InvalidSyntax));
        }
    }
}
