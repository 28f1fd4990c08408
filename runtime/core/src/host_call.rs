//! What a guest asks of its host, and what it is told: one list for the sandbox, which reads it off a component's calls,
//! the shell, which does it, the call log of an agent, and the tapes of tests.
//!
//! To add a capability that asks for something: one variant in each of the two lists, and what the compiler then wants.

use crate::call_log::MODEL;
use crate::json::Json;
use crate::model::{Completion, ModelCall};
use crate::outcome::{Failure, FailureKind};
use crate::outside::{
    ArtifactAnswer, ArtifactCall, ArtifactFault, HttpFault, HttpRequest, HttpResponse, KvAnswer, KvCall,
    KvFault,
};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum HostCall {
    /// A request to a service outside.
    Http(HttpRequest),
    /// A value that the plugin keeps.
    Kv(KvCall),
    /// A file of the run.
    Artifact(ArtifactCall),
    /// What stands for the secret of this name.
    Secret(String),
    /// What the operator tells the plugin.
    Config,
    /// Another plugin.
    Tool(ToolCall),
    /// A language model.
    Model(Box<ModelCall>),
    /// The names of the models that the plugin may ask.
    Models,
}

/// A call of another plugin.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolCall {
    /// `tool:name` or `transform:name`.
    pub name: String,
    /// Its input.
    pub input: Json,
}

/// What is told. A list beside [`HostCall`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HostAnswer {
    /// The answer of a service.
    Http(#[serde(with = "told")] Result<HttpResponse, HttpFault>),
    /// A value, or what became of it.
    Kv(#[serde(with = "told")] Result<KvAnswer, KvFault>),
    /// A file, or what became of it.
    Artifact(#[serde(with = "told")] Result<ArtifactAnswer, ArtifactFault>),
    /// What stands for a secret, or why there is nothing.
    Secret(#[serde(with = "told")] Result<String, String>),
    /// What the operator says: an object.
    Config(Option<Json>),
    /// What a plugin gave.
    Tool(#[serde(with = "told")] Result<Json, Failure>),
    /// What a model said.
    Model(#[serde(with = "told")] Result<Completion, Failure>),
    /// Their names, the default first.
    Models(Vec<String>),
}

/// An answer, and when it was had: an agent's clock goes by the times of its answers, so that a replay with recorded
/// answers sees the recorded times.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The answer.
    pub answer: HostAnswer,
    /// When.
    pub at: Timestamp,
}

impl HostCall {
    /// The capability that is asked for.
    pub fn capability(&self) -> &'static str {
        match self {
            HostCall::Http(_) => "http",
            HostCall::Kv(_) => "kv",
            HostCall::Artifact(_) => "artifacts",
            HostCall::Secret(_) => "secret",
            HostCall::Config => "config",
            HostCall::Tool(_) => "tools",
            HostCall::Model(_) => MODEL,
            HostCall::Models => "models",
        }
    }
    /// Whether it may change something outside the sandbox, or costs something: before such a call is made, that it will
    /// be is on disk.
    pub fn is_effect(&self) -> bool {
        match self {
            HostCall::Http(_) | HostCall::Tool(_) | HostCall::Model(_) => true,
            HostCall::Kv(call) => !matches!(call, KvCall::Get { .. } | KvCall::Keys { .. }),
            HostCall::Artifact(_) | HostCall::Secret(_) | HostCall::Config | HostCall::Models => false,
        }
    }
    /// The call as it is recorded.
    ///
    /// # Errors
    /// Where it has no JSON, which is a fault of ours.
    pub fn recorded(&self) -> Result<Json, Failure> {
        written(self)
    }
    /// What is told of a call that fails for this before anybody is asked.
    pub fn refused(&self, failure: Failure) -> HostAnswer {
        use crate::outside::HttpFaultKind;
        let why = failure.message.clone();
        match self {
            HostCall::Http(_) => HostAnswer::Http(Err(HttpFault::new(HttpFaultKind::Denied, why))),
            HostCall::Kv(_) => HostAnswer::Kv(Err(KvFault::Denied(why))),
            HostCall::Artifact(_) => HostAnswer::Artifact(Err(ArtifactFault::Denied(why))),
            HostCall::Secret(_) => HostAnswer::Secret(Err(why)),
            HostCall::Config => HostAnswer::Config(None),
            HostCall::Tool(_) => HostAnswer::Tool(Err(failure)),
            HostCall::Model(_) => HostAnswer::Model(Err(failure)),
            HostCall::Models => HostAnswer::Models(Vec::new()),
        }
    }
}

impl HostAnswer {
    /// The answer as it is recorded.
    ///
    /// # Errors
    /// Where it has no JSON, which is a fault of ours.
    pub fn recorded(&self) -> Result<Json, Failure> {
        written(self)
    }
    /// Reads a recorded answer.
    ///
    /// # Errors
    /// Where it is none.
    pub fn read(recorded: &Json) -> Result<HostAnswer, Failure> {
        serde_json::from_str(recorded.text()).map_err(|fault| {
            Failure::new(FailureKind::Internal, format!("a recorded answer cannot be read: {fault}"))
        })
    }
}

fn written(what: &impl Serialize) -> Result<Json, Failure> {
    let fault =
        |why: String| Failure::new(FailureKind::Internal, format!("a call cannot be written down: {why}"));
    let text = serde_json::to_vec(what).map_err(|error| fault(error.to_string()))?;
    // Deeper by the levels that the record itself has.
    Json::parse_within(&text, RECORD_DEPTH).map_err(|error| fault(error.to_string()))
}

/// Levels of a recorded call: what a guest hands over has at most 64.
const RECORD_DEPTH: u64 = 80;

macro_rules! answers {
    ($($name:ident => $variant:ident: $answer:ty;)*) => {
        impl HostAnswer {
            $(
                /// The answer to a call of this kind.
                ///
                /// # Errors
                /// Where it answers another kind of call, which is a fault of ours.
                pub fn $name(self) -> Result<$answer, Failure> {
                    match self {
                        HostAnswer::$variant(answer) => Ok(answer),
                        _ => Err(Failure::new(FailureKind::Internal, "an answer of another kind than was asked for")),
                    }
                }
            )*
        }
    };
}

answers! {
    http => Http: Result<HttpResponse, HttpFault>;
    kv => Kv: Result<KvAnswer, KvFault>;
    artifact => Artifact: Result<ArtifactAnswer, ArtifactFault>;
    secret => Secret: Result<String, String>;
    config => Config: Option<Json>;
    tool => Tool: Result<Json, Failure>;
    model => Model: Result<Completion, Failure>;
    models => Models: Vec<String>;
}

/// `{"done": ...}` or `{"fault": ...}`.
mod told {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    enum Written<'a, T, E> {
        Done(&'a T),
        Fault(&'a E),
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    enum Read<T, E> {
        Done(T),
        Fault(E),
    }

    pub(super) fn serialize<T: Serialize, E: Serialize, S: Serializer>(
        result: &Result<T, E>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        result.as_ref().map_or_else(Written::Fault, Written::Done).serialize(to)
    }
    pub(super) fn deserialize<'de, T, E, D>(from: D) -> Result<Result<T, E>, D::Error>
    where
        T: Deserialize<'de>,
        E: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(match Read::deserialize(from)? {
            Read::Done(done) => Ok(done),
            Read::Fault(fault) => Err(fault),
        })
    }
}

/// Bytes as text where they are, and otherwise in base64.
pub(crate) mod bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "camelCase")]
    enum Shown {
        Text(String),
        Base64(String),
    }

    fn shown(bytes: &[u8]) -> Shown {
        match std::str::from_utf8(bytes) {
            Ok(text) => Shown::Text(text.to_owned()),
            Err(_) => Shown::Base64(STANDARD.encode(bytes)),
        }
    }
    fn meant(shown: Shown) -> Result<Vec<u8>, String> {
        match shown {
            Shown::Text(text) => Ok(text.into_bytes()),
            Shown::Base64(text) => STANDARD.decode(text).map_err(|fault| fault.to_string()),
        }
    }

    pub(crate) fn serialize<S: Serializer>(bytes: &impl AsRef<[u8]>, to: S) -> Result<S::Ok, S::Error> {
        shown(bytes.as_ref()).serialize(to)
    }
    pub(crate) fn deserialize<'de, T: From<Vec<u8>>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        meant(Shown::deserialize(from)?).map(T::from).map_err(D::Error::custom)
    }

    /// Where there may be none.
    pub(crate) mod option {
        use super::{Serialize, Serializer, shown};

        pub(crate) fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
            bytes.as_deref().map(shown).serialize(to)
        }
    }

    /// A value with its version, where there is one.
    pub(crate) mod entry {
        use super::{Deserialize, Deserializer, Serialize, Serializer, Shown, meant, shown};
        use serde::de::Error as _;

        #[derive(Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Entry {
            value: Shown,
            version: u64,
        }

        pub(crate) fn serialize<S: Serializer>(
            entry: &Option<(Vec<u8>, u64)>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            let entry =
                entry.as_ref().map(|(value, version)| Entry { value: shown(value), version: *version });
            entry.serialize(to)
        }
        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<(Vec<u8>, u64)>, D::Error> {
            let Some(entry) = Option::<Entry>::deserialize(from)? else { return Ok(None) };
            Ok(Some((meant(entry.value).map_err(D::Error::custom)?, entry.version)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Digest;
    use crate::model::{Finish, Tokens, ToolUse};
    use crate::outside::HttpFaultKind;
    use crate::run::artifact::Artifact;

    #[test]
    fn answers_are_read_as_they_were_written() {
        let response = HttpResponse {
            status: 302,
            headers: vec![("location".into(), "/a".into())],
            body: "é".as_bytes().to_vec(),
        };
        let artifact = Artifact {
            name: "a.md".into(),
            media_type: "text/markdown".into(),
            digest: Digest::of(b"a"),
            size: 1,
        };
        let completion = Completion {
            text: Some("so".into()),
            calls: vec![ToolUse { id: "1".into(), name: "tool_a".into(), arguments: "{".into() }],
            finish: Finish::ToolCalls,
            tokens: Tokens { input: 3, output: 4, cached: 1 },
            model: "m".into(),
            provider: "p".into(),
            cost_micros: 12,
        };
        let failure = Failure::new(FailureKind::GuestError, "no").with_code("x");
        let answers = [
            HostAnswer::Http(Ok(response)),
            HostAnswer::Http(Err(HttpFault::new(HttpFaultKind::TooLarge, "large"))),
            HostAnswer::Kv(Ok(KvAnswer::Entry(None))),
            HostAnswer::Kv(Ok(KvAnswer::Entry(Some((vec![0xff, 0], 7))))),
            HostAnswer::Kv(Ok(KvAnswer::Keys(vec!["a".into()]))),
            HostAnswer::Kv(Err(KvFault::Conflict(4))),
            HostAnswer::Artifact(Ok(ArtifactAnswer::Bytes([0xff, 0].into()))),
            HostAnswer::Artifact(Ok(ArtifactAnswer::Kept(artifact))),
            HostAnswer::Artifact(Err(ArtifactFault::NotThere("gone".into()))),
            HostAnswer::Secret(Ok("heddle-secret-1".into())),
            HostAnswer::Config(None),
            HostAnswer::Config(Some(Json::trusted("{\"a\":1.50}"))),
            HostAnswer::Tool(Ok(Json::trusted("[1]"))),
            HostAnswer::Tool(Err(failure)),
            HostAnswer::Model(Ok(completion)),
        ];
        for answer in answers {
            let recorded = answer.recorded().unwrap();
            assert_eq!(HostAnswer::read(&recorded).unwrap(), answer, "{}", recorded.text());
        }
    }
    #[test]
    fn a_call_is_known_by_all_that_it_says() {
        let call = |body: &[u8]| {
            let request =
                HttpRequest { method: "POST".into(), body: Some(body.to_vec()), ..HttpRequest::default() };
            HostCall::Http(request).recorded().unwrap().digest()
        };
        assert_eq!(call(b"a"), call(b"a"));
        assert_ne!(call(b"a"), call(b"b"));
        assert_ne!(call(&[0xff]), call(b"/w=="), "bytes are not their base64");
    }
}
