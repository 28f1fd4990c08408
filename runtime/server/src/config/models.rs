//! Language models: `[providers.NAME]` says where one can be asked, `[models.NAME]` what agents ask for, with a chain of
//! providers behind it and their prices.

use super::webhooks::{SecretSource, parts};
use super::{Origin, Reader};
use heddle_core::expr::tree::nearest;
use heddle_core::model::provider::Kind;
use heddle_core::outside::{Url, header};
use heddle_executor::{ModelAlias, Price};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A provider, without what is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderSetting {
    /// What it speaks.
    pub kind: Kind,
    /// Where it is.
    pub url: String,
    /// The secret that is the key of the account.
    pub key: Option<Arc<str>>,
    /// Headers that go with every request.
    pub headers: Vec<(String, String)>,
}

/// What the file says of models.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelSettings {
    /// By name.
    pub providers: BTreeMap<Arc<str>, ProviderSetting>,
    /// By name.
    pub aliases: Vec<ModelAlias>,
    /// By `provider/model`.
    pub prices: BTreeMap<String, Price>,
}

impl Reader<'_> {
    /// Providers, names and prices.
    pub(super) fn models(&mut self, secrets: &BTreeMap<Arc<str>, SecretSource>) -> ModelSettings {
        let providers = self.providers(secrets);
        let mut aliases = Vec::new();
        for (name, said) in self.noted("models.*.use") {
            let mut chain = Vec::new();
            for part in parts(&said.text) {
                match model_of(part, &providers) {
                    Ok(link) => chain.push(link),
                    Err(why) => self.fault(said.origin.clone(), format!("`models.{name}.use`: {why}")),
                }
            }
            aliases.push(ModelAlias { name: name.into(), chain });
        }
        let mut prices = BTreeMap::new();
        for (name, said) in self.noted("models.*.prices") {
            if !aliases.iter().any(|alias| *alias.name == *name) {
                self.fault(said.origin.clone(), format!("`models.{name}.use` is missing"));
            }
            for part in parts(&said.text) {
                match price_of(part) {
                    Some((model, price)) => drop(prices.insert(model, price)),
                    None => self.fault(
                        said.origin.clone(),
                        format!("`models.{name}.prices` lists such as `openai/gpt-4o-mini 0.15 0.60 0.075`: what a million tokens cost that are read, written, and read from the provider's cache; not `{part}`"),
                    ),
                }
            }
        }
        ModelSettings { providers, aliases, prices }
    }

    fn providers(
        &mut self,
        secrets: &BTreeMap<Arc<str>, SecretSource>,
    ) -> BTreeMap<Arc<str>, ProviderSetting> {
        let mut all: BTreeMap<Arc<str>, ProviderSetting> = BTreeMap::new();
        for (name, said) in self.noted("providers.*.url") {
            let fits = Url::parse(&said.text).is_ok_and(|url| {
                matches!(url.scheme(), "http" | "https")
                    && url.host_str().is_some_and(|host| !host.is_empty())
            });
            if !fits {
                let message = format!("`providers.{name}.url` is such as `https://api.openai.com/v1`");
                self.fault(said.origin, message);
                continue;
            }
            let setting =
                ProviderSetting { kind: Kind::OpenAi, url: said.text, key: None, headers: Vec::new() };
            all.insert(name.into(), setting);
        }
        for (name, said) in self.noted("providers.*.speaks") {
            let kind = match said.text.as_str() {
                "openai" => Kind::OpenAi,
                "anthropic" => Kind::Anthropic,
                other => {
                    let message =
                        format!("`providers.{name}.speaks` is `openai` or `anthropic`, not `{other}`");
                    self.fault(said.origin, message);
                    continue;
                }
            };
            self.with(&mut all, &name, said.origin, |setting| setting.kind = kind);
        }
        for (name, said) in self.noted("providers.*.key") {
            if !secrets.contains_key(&*said.text) {
                let near = nearest(&said.text, secrets.keys().map(|known| &**known));
                let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                // It may be the key itself, so it is not said again.
                let message = format!(
                    "`providers.{name}.key` names a secret, and `[secrets]` has none of this name{hint}"
                );
                self.fault(said.origin, message);
                continue;
            }
            self.with(&mut all, &name, said.origin, |setting| setting.key = Some(said.text.into()));
        }
        for (name, said) in self.noted("providers.*.headers") {
            let mut headers = Vec::new();
            for part in parts(&said.text) {
                let read = part.split_once(':').ok_or_else(|| "write such as `x-team: search`".to_owned());
                match read.and_then(|(name, value)| header(name.trim(), value.trim().to_owned())) {
                    Ok(one) => headers.push(one),
                    Err(why) => {
                        self.fault(said.origin.clone(), format!("`providers.{name}.headers`: {why}"));
                    }
                }
            }
            self.with(&mut all, &name, said.origin, |setting| setting.headers = headers);
        }
        all
    }

    fn with(
        &mut self,
        all: &mut BTreeMap<Arc<str>, ProviderSetting>,
        name: &str,
        origin: Origin,
        change: impl FnOnce(&mut ProviderSetting),
    ) {
        match all.get_mut(name) {
            Some(setting) => change(setting),
            None => self.fault(origin, format!("`providers.{name}.url` is missing")),
        }
    }
}

/// `provider/model`.
fn model_of(
    text: &str,
    providers: &BTreeMap<Arc<str>, ProviderSetting>,
) -> Result<(Arc<str>, Arc<str>), String> {
    let Some((provider, model)) = text.split_once('/').filter(|(_, model)| !model.is_empty()) else {
        return Err(format!("lists such as `openai/gpt-4o-mini`, a provider and its model, not `{text}`"));
    };
    if !providers.contains_key(provider) {
        let near = nearest(provider, providers.keys().map(|known| &**known));
        let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        return Err(format!("there is no `[providers.{provider}]`{hint}"));
    }
    Ok((provider.into(), model.into()))
}

/// `provider/model 0.15 0.60 0.075`.
fn price_of(text: &str) -> Option<(String, Price)> {
    let mut words = text.split_whitespace();
    let model = words.next().filter(|model| model.contains('/'))?;
    let amounts: Vec<u64> = words.map(micros).collect::<Option<_>>()?;
    let price = match *amounts.as_slice() {
        [input, output] => Price { input, output, cached: input },
        [input, output, cached] => Price { input, output, cached },
        _ => return None,
    };
    Some((model.to_owned(), price))
}

fn micros(text: &str) -> Option<u64> {
    let amount: f64 = text.parse().ok()?;
    (0.0..=1e6).contains(&amount).then(|| (amount * 1e6).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices() {
        let (model, price) = price_of("a/b 0.15 0.6 0.075").unwrap();
        assert_eq!(
            (model.as_str(), price.input, price.output, price.cached),
            ("a/b", 150_000, 600_000, 75_000)
        );
        assert_eq!(price_of("a/b 1 2").unwrap().1.cached, 1_000_000);
        for bad in ["", "a/b", "a/b 1", "ab 1 2", "a/b 1 2 3 4", "a/b -1 2", "a/b x 2", "a/b NaN 2"] {
            assert!(price_of(bad).is_none(), "{bad}");
        }
    }
}
