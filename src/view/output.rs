//! What whoever sends requests needs: where, and by which name the model is asked for.

use indexmap::IndexMap;
use serde::Serialize;

use super::style::{Role, Style};
use super::words::{columns, list};
use crate::node::quote;
use crate::plan::{Address, Readiness, Service};

/// Where clients send their requests.
const URL: &str = "url";
/// What they call the model.
const MODEL: &str = "model";

/// What serves, for scripts: each value by its name. Serialised, it is the document of
/// `output --json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Output {
    #[serde(flatten)]
    values: IndexMap<String, String>,
    /// What could be there and is not, and why.
    #[serde(skip)]
    missing: IndexMap<String, String>,
    /// Where a request can be sent: of what stands before others, else of each.
    #[serde(skip)]
    urls: Vec<String>,
    /// The variable of this machine that holds the key which clients show.
    #[serde(skip)]
    key: Option<String>,
}

/// Something that is declared to serve.
type Served = (Address, Service);

/// What is in the way of one, if anything is.
fn trouble(service: &Service) -> Option<&str> {
    match &service.readiness {
        Readiness::Ready => None,
        Readiness::NotReady(why) => Some(why),
    }
}

impl Output {
    /// What is declared to serve, as it was found.
    pub fn new(declared: &[Served]) -> Self {
        let offering: Vec<&Served> = declared.iter().filter(|it| it.1.offer.is_some()).collect();
        let is_front = |it: &&&Served| it.1.offer.as_ref().is_some_and(|offer| offer.is_front);
        let fronts: Vec<&Served> = offering.iter().filter(is_front).copied().collect();
        let asked = if fronts.is_empty() {
            &offering
        } else {
            &fronts
        };
        let mut output = Self::default();
        output.take_asked(asked);
        for (address, service) in offering {
            let name = address.local();
            match (trouble(service), &service.url) {
                (None, Some(url)) => drop(output.values.insert(name, url.clone())),
                (trouble, _) => {
                    let why = trouble.unwrap_or("it does not run");
                    output.missing.insert(name, why.to_owned());
                }
            }
        }
        output
    }

    /// Takes what clients ask from those that they ask.
    fn take_asked(&mut self, asked: &[&Served]) {
        let serving = || asked.iter().filter(|it| trouble(&it.1).is_none());
        let urls = serving().filter_map(|(_, service)| service.url.clone());
        self.urls = urls.collect();
        let offers = || serving().filter_map(|(_, service)| service.offer.as_ref());
        let models: Vec<&String> = offers().filter_map(|it| it.model.as_ref()).collect();
        self.key = offers().find_map(|offer| offer.key.clone());
        let troubles = asked.iter().filter_map(|(address, service)| {
            let why = trouble(service)?;
            Some(format!("{} does not serve: {why}", address.local()))
        });
        let nothing = match troubles.collect::<Vec<_>>().as_slice() {
            [] => "nothing is declared that serves".to_owned(),
            troubles => troubles.join("; "),
        };
        let names: Vec<String> = serving().map(|it| format!("`{}`", it.0.local())).collect();
        let several = format!(
            "several serve, and nothing stands before them: ask for {}",
            list(&names)
        );
        match self.urls.as_slice() {
            [] => drop(self.missing.insert(URL.to_owned(), nothing.clone())),
            [url] => drop(self.values.insert(URL.to_owned(), url.clone())),
            _ => drop(self.missing.insert(URL.to_owned(), several)),
        }
        match models.as_slice() {
            [] => drop(self.missing.insert(MODEL.to_owned(), nothing)),
            [model, others @ ..] if others.iter().all(|it| it == model) => {
                self.values.insert(MODEL.to_owned(), (*model).clone());
            }
            _ => {
                let why = "several models are served".to_owned();
                self.missing.insert(MODEL.to_owned(), why);
            }
        }
    }

    /// Says why no request can be sent, where none can.
    pub fn served(&self) -> Result<(), &str> {
        if self.urls.is_empty() {
            return Err(self.get(URL).err().flatten().unwrap_or_default());
        }
        Ok(())
    }

    /// Where requests can be sent.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// A value by its name; else why it is not there, where it could be.
    pub fn get(&self, name: &str) -> Result<&str, Option<&str>> {
        let missing = self.missing.get(name).map(String::as_str);
        self.values.get(name).map(String::as_str).ok_or(missing)
    }

    /// All names, of what is there and of what could be.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.values.keys().chain(self.missing.keys());
        names.map(String::as_str)
    }

    /// What could be there and is not, and why.
    pub fn missing(&self) -> impl Iterator<Item = (&str, &str)> {
        let missing = self.missing.iter();
        missing.map(|(name, why)| (name.as_str(), why.as_str()))
    }

    /// Renders each value as `name = "value"`, as terraform does.
    pub fn render(&self) -> String {
        let widths = self.values.keys().map(|name| columns(name));
        let width = widths.max().unwrap_or(0);
        let lines = self.values.iter();
        let line = |(name, value): (&String, &String)| format!("{name:width$} = {}\n", json(value));
        lines.map(line).collect()
    }

    /// Says where what serves can be asked, and how: a command that can be pasted.
    pub fn invitation(&self, style: Style) -> Option<String> {
        let first = self.urls.first()?;
        let model = self.get(MODEL).ok();
        let lead = style.paint(Role::Good, "Ready");
        let what = model.map_or_else(String::new, |model| format!(" {model} at"));
        let key = match &self.key {
            Some(variable) => format!(" -H \"Authorization: Bearer ${variable}\""),
            None => String::new(),
        };
        let body = serde_json::json!({"model": model, "prompt": "Hello"}).to_string();
        Some(format!(
            "{lead}:{what} {}\n  curl {}{key} -H 'Content-Type: application/json' -d {}\n",
            list(&self.urls),
            quote(&format!("{first}/v1/completions")),
            quote(&body)
        ))
    }
}

/// A value as JSON writes it.
pub fn json(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{NodePort, Offer};

    fn served(address: &str, port: u16, trouble: Option<&str>) -> Served {
        let address: Address = address.parse().unwrap();
        let at = NodePort::new(address.node.as_ref().unwrap(), port);
        let is_front = address.kind == "proxy";
        let service = Service {
            url: trouble.is_none().then(|| format!("http://10.0.0.1:{port}")),
            offer: Some(Offer {
                model: trouble.is_none().then(|| "demo".to_owned()),
                key: None,
                is_front,
            }),
            readiness: match trouble {
                None => Readiness::Ready,
                Some(why) => Readiness::NotReady(why.to_owned()),
            },
            ..Service::stopped(at)
        };
        (address, service)
    }

    fn document(declared: &[Served]) -> String {
        serde_json::to_string(&Output::new(declared)).unwrap()
    }

    #[test]
    fn clients_ask_what_stands_before_the_others() {
        let declared = [
            served("n/instance.a", 8100, None),
            served("n/instance.b", 8200, Some("it does not run")),
            served("n/proxy", 8192, None),
        ];
        let output = Output::new(&declared);
        insta::assert_snapshot!(output.render(), @r#"
        url        = "http://10.0.0.1:8192"
        model      = "demo"
        instance.a = "http://10.0.0.1:8100"
        proxy      = "http://10.0.0.1:8192"
        "#);
        insta::assert_snapshot!(document(&declared), @r#"{"url":"http://10.0.0.1:8192","model":"demo","instance.a":"http://10.0.0.1:8100","proxy":"http://10.0.0.1:8192"}"#);
        assert_eq!(output.get("url"), Ok("http://10.0.0.1:8192"));
        assert_eq!(output.get("instance.b"), Err(Some("it does not run")));
        assert_eq!(output.get("instance.c"), Err(None));
    }

    #[test]
    fn what_does_not_serve_is_no_address() {
        let declared = [
            served("n/instance.a", 8100, None),
            served("n/proxy", 8192, Some("no instance is ready")),
        ];
        let output = Output::new(&declared);
        let why = "proxy does not serve: no instance is ready";
        assert_eq!(output.get("url"), Err(Some(why)));
        assert_eq!(output.get("model"), Err(Some(why)));
        assert_eq!(output.get("instance.a"), Ok("http://10.0.0.1:8100"));
        assert_eq!(output.invitation(Style::plain()), None);
        assert_eq!(document(&[]), "{}");
        let none = Output::new(&[]);
        assert_eq!(
            none.get("url"),
            Err(Some("nothing is declared that serves"))
        );
    }

    #[test]
    fn of_several_without_a_proxy_each_has_its_own() {
        let declared = [
            served("n/instance.a", 8100, None),
            served("n/instance.b", 8200, None),
        ];
        let output = Output::new(&declared);
        let why = output.get("url").unwrap_err().unwrap();
        insta::assert_snapshot!(why, @"several serve, and nothing stands before them: ask for `instance.a` and `instance.b`");
        assert_eq!(output.get("model"), Ok("demo"));
        assert_eq!(
            Output::new(&declared[..1]).get("url"),
            Ok("http://10.0.0.1:8100")
        );
        insta::assert_snapshot!(output.invitation(Style::plain()).unwrap(), @r#"
        Ready: demo at http://10.0.0.1:8100 and http://10.0.0.1:8200
          curl http://10.0.0.1:8100/v1/completions -H 'Content-Type: application/json' -d '{"model":"demo","prompt":"Hello"}'
        "#);
    }

    #[test]
    fn a_key_is_named_by_its_variable_and_never_shown() {
        let mut declared = [served("n/instance.a", 8100, None)];
        if let Some(offer) = &mut declared[0].1.offer {
            offer.key = Some("MY_KEY".to_owned());
        }
        let invitation = Output::new(&declared).invitation(Style::plain()).unwrap();
        let header = "-H \"Authorization: Bearer $MY_KEY\"";
        assert!(invitation.contains(header), "{invitation}");
    }
}
