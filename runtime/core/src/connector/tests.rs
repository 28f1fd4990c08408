//! What a connector's document means, what is sent, and what an answer is.

use super::openapi::import;
use super::*;
use crate::json::Json;
use crate::limits::Limits;
use crate::outcome::{FailureKind, Outcome};
use crate::outside::HttpResponse;
use serde_json::json;

const WEATHER: &str = r##"
connector: "1.0"
name: weather
version: 1.2.0
baseUrl: https://api.weather.example/v1/
auth: {header: {name: X-Api-Key, secret: weather-key}}
timeout: 5s
schemas:
  Reading: {type: object, properties: {celsius: {type: number}, wind: {$ref: "#/schemas/Wind"}}, required: [celsius]}
  Wind: {type: object}
endpoints:
  current:
    path: /cities/{city}/current
    title: The weather now
    provides: [weather.current]
    parameters:
      city: {in: path}
      units: {in: query, schema: {enum: [metric, imperial]}}
      days: {in: query, name: "day[]", schema: {type: array, items: {type: integer}}}
      lang: {in: header, name: Accept-Language}
    response: {$ref: "#/schemas/Reading"}
  report:
    method: POST
    path: /reports
    body: {$ref: "#/schemas/Reading"}
"##;

fn read(text: &str) -> Connector {
    Connector::read(text, &Limits::default()).unwrap_or_else(|faults| panic!("{faults:?}"))
}
fn parsed(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap()
}

#[test]
fn each_endpoint_is_a_tool() {
    let connector = read(WEATHER);
    let names: Vec<&str> = connector.tools.iter().map(|tool| tool.metadata.name.as_str()).collect();
    assert_eq!(names, ["weather/current", "weather/report"]);
    let current = &connector.tools[0];
    assert_eq!(current.metadata.provides, ["weather.current"]);
    assert_eq!(current.endpoint.timeout_ms, Some(5_000));
    let schema: serde_json::Value = serde_json::from_str(current.metadata.output_schema.text()).unwrap();
    assert_eq!(schema["$ref"], "#/$defs/Reading");
    assert_eq!(schema["$defs"].as_object().unwrap().len(), 2, "with what it refers to: {schema}");
    let input: serde_json::Value = serde_json::from_str(current.metadata.input_schema.text()).unwrap();
    assert_eq!(input["required"], json!(["city"]));
    let kept = serde_json::to_string(&current).unwrap();
    assert_eq!(serde_json::from_str::<Tool>(&kept).unwrap(), *current);
}

#[test]
fn an_input_becomes_a_request() {
    let connector = read(WEATHER);
    let secret = |name: &str| Ok(format!("<{name}>"));
    let input = r#"{"city": "São/Paulo & co", "units": "metric", "days": [1, 2], "lang": "de"}"#;
    let request = connector.tools[0].endpoint.request(&parsed(input), secret, "k").unwrap();
    assert_eq!(request.method, "GET");
    assert_eq!(
        request.url,
        "https://api.weather.example/v1/cities/S%C3%A3o%2FPaulo%20%26%20co/current?units=metric&day%5B%5D=1&day%5B%5D=2"
    );
    let header =
        |name: &str| request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value);
    assert_eq!([header("x-api-key"), header("accept-language")], [Some("<weather-key>"), Some("de")]);
    assert_eq!((header("idempotency-key"), header("accept")), (None, Some("application/json")));
    let report = &connector.tools[1].endpoint;
    let request = report.request(&parsed(r#"{"body": {"celsius": 1.50}}"#), secret, "k").unwrap();
    assert_eq!(request.body.as_deref(), Some(br#"{"celsius":1.50}"#.as_slice()));
    assert!(request.headers.contains(&("idempotency-key".into(), "k".into())));
    // What would mean something in a path is refused, and a secret that is not granted as well.
    for city in ["\"..\"", "\".\"", "\"\"", "null", "[]"] {
        let input = parsed(&format!(r#"{{"city": {city}}}"#));
        let failure = connector.tools[0].endpoint.request(&input, secret, "k").unwrap_err();
        assert_eq!(failure.kind, FailureKind::InvalidInput);
    }
    let denied = report.request(&parsed("{}"), |_| Err("no".into()), "k").unwrap_err();
    assert_eq!(denied.kind, FailureKind::CapabilityDenied);
}

#[test]
fn an_answer_is_an_output_or_says_whether_to_try_again() {
    let endpoint = read(WEATHER).tools.remove(0).endpoint;
    let answer = |status, kind: &str, body: &[u8]| {
        endpoint.answer(&HttpResponse {
            status,
            headers: vec![("content-type".into(), kind.into()), ("retry-after".into(), "7".into())],
            body: body.to_vec(),
        })
    };
    assert_eq!(
        answer(200, "application/json; charset=utf-8", b"{\"a\": 1.0}"),
        Outcome::Done(parsed("{\"a\":1.0}"))
    );
    assert_eq!(answer(200, "text/plain", b"hello"), Outcome::Done(parsed("\"hello\"")));
    assert_eq!(answer(204, "", b""), Outcome::Done(Json::null()));
    let failure = |outcome| match outcome {
        Outcome::Failed(failure) => failure,
        other => panic!("{other:?}"),
    };
    assert_eq!(failure(answer(200, "application/json", b"<html>")).kind, FailureKind::InvalidOutput);
    assert_eq!(failure(answer(200, "image/png", b"\xff\xfe")).kind, FailureKind::InvalidOutput);
    for (status, retryable, wait) in
        [(404, false, None), (301, false, None), (429, true, Some(7_000)), (503, true, Some(7_000))]
    {
        let failure = failure(answer(status, "text/plain", b"no"));
        assert_eq!((failure.retryable, failure.retry_after_ms), (retryable, wait), "{status}");
        assert_eq!(failure.code, Some(format!("http_{status}")));
        assert!(failure.data.unwrap().text().contains("\"body\":\"no\""));
    }
}

#[test]
fn no_header_goes_twice() {
    let own = "idempotencyHeader: idempotency-key\n    parameters:\n      key: {in: header, name: Idempotency-Key}\n      auth: {in: header, name: x-api-key}\n    body: {";
    let text = WEATHER
        .replace("timeout: 5s", "headers: {Content-Type: application/merge-patch+json, Accept: text/plain}")
        .replace("body: {", own);
    let endpoint = read(&text).tools.remove(1).endpoint;
    let sent = |input: &str| {
        let request = endpoint.request(&parsed(input), |_| Ok("secret".to_owned()), "ours").unwrap();
        let mut headers: Vec<String> =
            request.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        headers.sort();
        headers
    };
    let (accept, kind) = ("accept: text/plain", "content-type: application/merge-patch+json");
    let input = r#"{"body": {"celsius": 1}, "key": "its", "auth": "guess"}"#;
    assert_eq!(sent(input), [accept, kind, "idempotency-key: its", "x-api-key: secret"]);
    let input = r#"{"body": {"celsius": 1}}"#;
    assert_eq!(sent(input), [accept, kind, "idempotency-key: ours", "x-api-key: secret"]);
}

#[test]
fn schemas_that_are_shared_do_not_grow_without_bound() {
    let wide = format!("  Wind: {{description: \"{}\"}}", "w".repeat(60_000));
    let mut text = WEATHER.replace("  Wind: {type: object}", &wide);
    for number in 0..100 {
        text.push_str(&format!(
            "  more{number}:\n    path: /m\n    response: {{$ref: \"#/schemas/Reading\"}}\n"
        ));
    }
    let faults = Connector::read(&text, &Limits::default()).unwrap_err();
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert!(told.len() == 1 && told[0].contains("make two connectors of it"), "{told:?}");
    let long = WEATHER.replace("The weather now", &"w".repeat(300));
    let told = Connector::read(&long, &Limits::default()).unwrap_err();
    assert!(told[0].to_string().contains("title has 300 bytes"), "{told:?}");
}

#[test]
fn every_fault_of_a_document_is_told_with_its_place() {
    for (from, to, says) in [
        ("\"1.0\"", "\"2.0\"", "the version of this language"),
        ("name: weather", "name: Weather", "wants a name"),
        ("version: 1.2.0", "version: one", "semantic version"),
        ("https://api.weather.example/v1/", "https://u:p@a/", "wants an address"),
        ("path: /reports", "path: reports", "begins with `/`"),
        ("path: /reports", "path: /reports/{id}", "no parameter `id`"),
        ("/cities/{city}/current", "/cities/current", "is not in the path"),
        ("method: POST", "method: post", "is one of GET"),
        ("in: path", "in: cookie", "`path`, `query` or `header`"),
        (
            "{$ref: \"#/schemas/Reading\"}\n  report",
            "{$ref: \"#/schemas/Nothing\"}\n  report",
            "refers to `#/schemas/Nothing`",
        ),
        ("timeout: 5s", "timeot: 5s", "did you mean `timeout`?"),
        ("header: {name: X-Api-Key, secret: weather-key}", "basic: {}", "`header`"),
        ("{type: number}", "{type: nmber}", "not a usable JSON Schema"),
        ("provides: [weather.current]", "provides: [Weather]", "dotted names"),
        ("name: X-Api-Key", "name: Host", "`host` is the host's to send"),
        ("secret: weather-key", "secret: \"a b\"", "the name of a secret"),
        ("name: Accept-Language", "name: traceparent", "the host's to send"),
        ("timeout: 5s", "headers: {\"a b\": c}", "a character that no such name has"),
        ("body: {", "idempotencyHeader: Host\n    body: {", "the host's to send"),
    ] {
        assert!(WEATHER.contains(from), "{from}");
        let faults = Connector::read(&WEATHER.replacen(from, to, 1), &Limits::default()).unwrap_err();
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|fault| fault.contains(says)), "{to}: {told:?}");
        assert!(faults[0].place.line > 0, "{to}: {told:?}");
    }
}

#[test]
fn an_openapi_document_becomes_a_connector() {
    let openapi = json!({
        "openapi": "3.0.3",
        "info": { "title": "Pets", "version": "2.1" },
        "servers": [{ "url": "https://pets.example/api" }],
        "paths": {
            "/pets/{petId}": {
                "parameters": [{ "name": "petId", "in": "path", "required": true, "schema": { "type": "integer" } }],
                "get": {
                    "operationId": "getPetById", "summary": "One pet",
                    "responses": { "200": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Pet" } } } } },
                },
                "put": {
                    "operationId": "upload", "requestBody": { "required": true, "content": { "image/png": {} } },
                    "responses": { "204": {} },
                },
            },
            "/pets": {
                "post": {
                    "requestBody": { "$ref": "#/components/requestBodies/Pet" },
                    "responses": { "201": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Pet" } } } }, "202": {} },
                },
            },
        },
        "components": {
            "schemas": { "Pet": { "type": "object", "properties": { "tag": { "type": "string", "nullable": true } } } },
            "requestBodies": { "Pet": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Pet" } } } } },
        },
    });
    let imported = import(&openapi, "pets", None).unwrap();
    assert_eq!(imported.left_out, ["PUT /pets/{petId}: its body is not JSON"]);
    let connector = read(&imported.document.to_string());
    assert_eq!(connector.version, semver::Version::new(2, 1, 0));
    let tool = |name: &str| connector.tools.iter().find(|tool| tool.metadata.name == name).unwrap();
    let post = tool("pets/post-pets");
    assert_eq!(post.metadata.output_schema.text(), "true", "it has answers of several sorts");
    assert!(post.metadata.input_schema.text().contains(r#""type":["string","null"]"#));
    let get =
        tool("pets/get-pet-by-id").endpoint.request(&parsed(r#"{"petId": 7}"#), |_| Ok(String::new()), "k");
    assert_eq!(get.unwrap().url, "https://pets.example/api/pets/7");
    assert!(import(&json!({ "swagger": "2.0" }), "a", None).unwrap_err().contains("openapi: 3.x"));
    assert!(import(&json!({ "openapi": "3.1.0" }), "a", None).unwrap_err().contains("--base-url"));
}
