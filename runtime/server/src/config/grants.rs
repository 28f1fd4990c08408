//! What an operator lets plugins do: `[grants."tool:fetch"]`, and where the secrets are that they may use. A secret itself
//! never stands in a configuration, so nothing that shows one can show it.

use super::Reader;
use super::said::Said;
use super::webhooks::{SecretSource, parts, place};
use heddle_core::expr::tree::nearest;
use heddle_core::grant::{Grants, HttpRule, Place};
use heddle_core::json::Json;
use heddle_core::outside::SECRET_LEAST_BYTES;
use heddle_core::value::Value;
use heddle_executor::ModelAlias;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Reader<'_> {
    /// Where the secrets are that plugins may use.
    pub(super) fn plugin_secrets(&mut self) -> BTreeMap<Arc<str>, SecretSource> {
        self.sources("secrets.*")
    }

    /// What each plugin may do, by `kind:name`.
    pub(super) fn grants(
        &mut self,
        secrets: &BTreeMap<Arc<str>, SecretSource>,
        models: &[ModelAlias],
    ) -> BTreeMap<String, Arc<Grants>> {
        let mut all: BTreeMap<String, Grants> = BTreeMap::new();
        for (plugin, said) in self.noted("grants.*.http") {
            for part in parts(&said.text) {
                match HttpRule::parse(part) {
                    Ok(rule) => all.entry(plugin.clone()).or_default().http.push(rule),
                    Err(fault) => self.fault(said.origin.clone(), format!("`grants.{plugin}.http`: {fault}")),
                }
            }
        }
        for (plugin, said) in self.noted("grants.*.secrets") {
            for part in parts(&said.text) {
                match use_of(part, secrets) {
                    Ok((name, place)) => {
                        all.entry(plugin.clone()).or_default().secrets.entry(name).or_default().push(place);
                    }
                    Err(why) => self.fault(said.origin.clone(), format!("`grants.{plugin}.secrets`: {why}")),
                }
            }
        }
        self.granted_models(&mut all, models);
        let flags = ["grants.*.kv", "grants.*.artifacts"];
        for (family, (plugin, said)) in flags
            .map(|family| (family, self.noted(family)))
            .into_iter()
            .flat_map(|(family, all)| all.into_iter().map(move |one| (family, one)))
        {
            let is_on = match said.text.as_str() {
                "true" => true,
                "false" => false,
                other => {
                    let key = family.replace('*', &plugin);
                    self.fault(said.origin, format!("`{key}` is `true` or `false`, not `{other}`"));
                    continue;
                }
            };
            let grants = all.entry(plugin).or_default();
            match family {
                "grants.*.kv" => grants.kv = is_on,
                _ => grants.artifacts = is_on,
            }
        }
        for (plugin, said) in self.noted("grants.*.config") {
            match Json::parse(said.text.as_bytes()) {
                Ok(json) if matches!(json.value(), Value::Map(_)) => {
                    all.entry(plugin).or_default().config = Some(json);
                }
                Ok(_) => {
                    let message = format!(
                        "`grants.{plugin}.config` is a JSON object, such as `'{{\"region\": \"eu\"}}'`"
                    );
                    self.fault(said.origin, message);
                }
                Err(fault) => self.fault(said.origin, format!("`grants.{plugin}.config`: {fault}")),
            }
        }
        all.into_iter().map(|(plugin, grants)| (plugin, Arc::new(grants))).collect()
    }

    /// The models that agents may ask.
    fn granted_models(&mut self, all: &mut BTreeMap<String, Grants>, models: &[ModelAlias]) {
        for (plugin, said) in self.noted("grants.*.models") {
            for part in parts(&said.text) {
                match part == "*" || models.iter().any(|alias| *alias.name == *part) {
                    true => all.entry(plugin.clone()).or_default().models.push(part.into()),
                    false => {
                        let near = nearest(part, models.iter().map(|alias| &*alias.name));
                        let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                        let message =
                            format!("`grants.{plugin}.models`: there is no `[models.{part}]`{hint}");
                        self.fault(said.origin.clone(), message);
                    }
                }
            }
        }
    }

    /// What was said of a family, noted as shown.
    pub(super) fn noted(&mut self, family: &'static str) -> Vec<(String, Said)> {
        let said = self.said(family);
        for (name, one) in &said {
            self.show(&family.replace('*', name), one);
        }
        said
    }
}

/// `name https://host`: a secret, and where it may go.
fn use_of(text: &str, secrets: &BTreeMap<Arc<str>, SecretSource>) -> Result<(Arc<str>, Place), String> {
    let Some((name, place_text)) = text.split_once(char::is_whitespace) else {
        return Err(format!(
            "`{text}` does not say where the secret may go; write such as `{text} https://api.example.com`"
        ));
    };
    if !secrets.contains_key(name) {
        let near = nearest(name, secrets.keys().map(|known| &**known));
        let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        return Err(format!("`[secrets]` has no secret `{name}`{hint}"));
    }
    let place_of = Place::parse(place_text.trim()).map_err(|fault| fault.to_string())?;
    Ok((name.into(), place_of))
}

impl SecretSource {
    /// Reads it as it stands there, without the white space around it.
    ///
    /// # Errors
    /// In words for the operator, without any secret in them.
    pub fn read_plain(&self) -> anyhow::Result<Arc<str>> {
        let text = self.text()?;
        match text.trim() {
            "" => anyhow::bail!("{} is empty", place(self)),
            // It would be found everywhere in what comes back, and is guessed in no time.
            short if short.len() < SECRET_LEAST_BYTES => {
                anyhow::bail!("what stands in {} has fewer than {SECRET_LEAST_BYTES} bytes", place(self))
            }
            text => Ok(text.into()),
        }
    }
}
