//! Who sends a request. A node asks for no keys yet: it believes whoever stands in front of it, so these two headers
//! belong to a proxy that knows its users, and to a machine of one's own.

use super::codes::Code;
use super::problem::Problem;
use hyper::HeaderMap;
use std::sync::Arc;

/// Who sends a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    /// Their name, where it is known.
    pub(crate) user: Option<Arc<str>>,
    /// Their groups.
    pub(crate) groups: Vec<Arc<str>>,
}

impl Caller {
    /// What is written down.
    pub(crate) fn name(&self) -> &str {
        self.user.as_deref().unwrap_or("api")
    }
}

/// The header with the name of the person.
const USER: &str = "heddle-user";
/// The header with the groups of the person, separated by commas.
const GROUPS: &str = "heddle-groups";
/// Bytes of a name.
const NAME_BYTES: usize = 128;
/// Groups of one person.
const MOST_GROUPS: usize = 64;

/// Reads who sends a request.
///
/// # Errors
/// A name that is not one.
pub(crate) fn caller(headers: &HeaderMap) -> Result<Caller, Problem> {
    let fault = |header: &str| {
        let detail = format!(
            "`{header}` wants names of 1 to {NAME_BYTES} visible ASCII characters, groups at most {MOST_GROUPS}, and once"
        );
        Problem::new(Code::ParameterInvalid, detail)
    };
    let one = |header: &'static str| {
        let mut values = headers.get_all(header).iter();
        let first = values.next();
        match (first.map(|value| value.to_str()), values.next()) {
            (None, _) => Ok(None),
            (Some(Ok(text)), None) => Ok(Some(text.trim().to_owned())),
            _ => Err(fault(header)),
        }
    };
    let is_name = |text: &str| {
        !text.is_empty() && text.len() <= NAME_BYTES && text.bytes().all(|b| b.is_ascii_graphic())
    };
    let user = one(USER)?;
    if user.as_deref().is_some_and(|user| !is_name(user)) {
        return Err(fault(USER));
    }
    let groups = one(GROUPS)?.unwrap_or_default();
    let groups: Vec<&str> = groups.split(',').map(str::trim).filter(|group| !group.is_empty()).collect();
    if groups.len() > MOST_GROUPS || !groups.iter().all(|group| is_name(group)) {
        return Err(fault(GROUPS));
    }
    Ok(Caller { user: user.map(Arc::from), groups: groups.into_iter().map(Arc::from).collect() })
}
