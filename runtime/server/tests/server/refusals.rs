//! Bad workflows, one by one and all at once: what is wrong, in which file, at which line and path, and what to do next.
//! Over HTTP and on the command line, since both are where authors meet it.

use crate::program::Place;
use crate::support::ask;
use serde_json::Value;

const HEAD: &str = "document: {dsl: \"1.0\", namespace: t, name: bad, version: 1.0.0}\n";

/// A bad workflow.
struct Bad {
    name: &'static str,
    text: String,
    code: &'static str,
    /// Where the fault is.
    pointer: &'static str,
    line: u64,
    column: u64,
    /// What its message says is wrong, and what to do.
    says: &'static [&'static str],
}

fn long() -> String {
    format!("${{ 1{} }}", " + 1".repeat(1_999))
}

fn bomb() -> String {
    let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for i in 1..12 {
        text += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(","));
    }
    text
}

fn every_bad_one() -> Vec<Bad> {
    let bad = |name, steps: String, pointer, (line, column), says| Bad {
        name,
        text: format!("{HEAD}steps:\n{steps}"),
        code: "workflow_invalid",
        pointer,
        line,
        column,
        says,
    };
    let mut all = vec![
        bad(
            "cycle",
            "  a:\n    set: 1\n    dependsOn: [b]\n  b:\n    set: 1\n    dependsOn: [a]\n".to_owned(),
            "/steps/a/dependsOn",
            (5, 16),
            &["these steps wait for each other: a -> b -> a", "take one `dependsOn`"],
        ),
        bad(
            "unknown-step",
            "  fetch: {set: 1}\n  a:\n    set: 1\n    dependsOn: [fetsh]\n".to_owned(),
            "/steps/a/dependsOn/0",
            (6, 17),
            &["no step is called `fetsh`", "did you mean `fetch`?"],
        ),
        bad(
            "type",
            "  a:\n    set: \"${ 1 + 'x' }\"\n".to_owned(),
            "/steps/a/set",
            (4, 10),
            &["`+` cannot work on int and string", "string("],
        ),
        bad(
            "unknown-key",
            "  a:\n    set: 1\n    wehn: true\n".to_owned(),
            "/steps/a/wehn",
            (5, 5),
            &["`wehn`", "did you mean `when`?"],
        ),
        bad(
            "long-expression",
            format!("  a:\n    set: \"{}\"\n", long()),
            "/steps/a/set",
            (4, 10),
            &["limits.expression_", "move the work into a transform"],
        ),
        bad(
            "bare-number",
            "  a:\n    set: 1\n    timeout: 30\n".to_owned(),
            "/steps/a/timeout",
            (5, 14),
            &["has no unit", "30s"],
        ),
    ];
    all.push(Bad {
        name: "bomb",
        text: bomb(),
        code: "yaml_budget",
        pointer: "/a4/4",
        line: 5,
        column: 26,
        says: &["limit document_", "forEach"],
    });
    all
}

/// The fault at this pointer is as it should be.
#[track_caller]
fn is_told(bad: &Bad, errors: &Value) {
    let errors = errors.as_array().unwrap_or_else(|| panic!("{}: no errors", bad.name));
    let error = errors.iter().find(|error| error["pointer"] == bad.pointer);
    let error = error.unwrap_or_else(|| panic!("{}: {errors:?}", bad.name));
    let place = (&error["line"], &error["column"]);
    assert_eq!(place, (&bad.line.into(), &bad.column.into()), "{}: {error}", bad.name);
    for words in bad.says {
        assert!(error["message"].as_str().unwrap().contains(words), "{}: {words}: {error}", bad.name);
    }
}

#[test]
fn a_bad_workflow_is_refused_over_http_with_its_places_and_what_to_do() {
    for bad in every_bad_one() {
        for target in ["/v1/workflows", "/v1/workflows?dryRun=true"] {
            let answer = ask("POST", target, &[("Content-Type", "application/yaml")], &bad.text);
            let problem = answer.is_problem(422, bad.code);
            is_told(&bad, &problem["errors"]);
            let next = problem["next"].as_str().unwrap_or_default();
            assert!(
                next.contains("send it again") && next.contains("heddle workflow validate FILE"),
                "{problem}"
            );
            assert!(problem["detail"].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
        }
        // The same where it is to be run at once.
        let body = serde_json::json!({ "definition": bad.text }).to_string();
        let answer = ask("POST", "/v1/runs", &[("Content-Type", "application/json")], &body);
        is_told(&bad, &answer.is_problem(422, bad.code)["errors"]);
    }
}

#[test]
fn a_bad_workflow_is_shown_on_the_terminal_with_its_lines_and_what_to_do() {
    let place = Place::new();
    for bad in every_bad_one() {
        let file = format!("{}.yaml", bad.name);
        place.write(&file, &bad.text);
        let said = place.heddle(&["workflow", "validate", &file]);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{said:?}");
        for words in bad.says {
            assert!(said.err.contains(words), "{}: {words}: {}", bad.name, said.err);
        }
        assert!(said.err.contains(&format!("`{file}` has a fault")), "{}", said.err);
        let head = format!("{file}:{}:{} ({})", bad.line, bad.column, bad.pointer);
        let at = said.err.lines().position(|line| line.trim_start() == head);
        let at = at.unwrap_or_else(|| panic!("no {head}: {}", said.err));
        // The caret stands under the column, however wide the number of the line is.
        let shown: Vec<&str> = said.err.lines().skip(at + 1).take(2).collect();
        let (text, caret) = (shown[0].find('|').unwrap(), shown[1].find('^').unwrap());
        assert_eq!(caret - text, bad.column as usize + 1, "{shown:?}");
        assert!(said.err.contains("correct them and run `heddle workflow validate` again"), "{}", said.err);
        let json: Value =
            serde_json::from_str(&place.heddle(&["workflow", "validate", &file, "--json"]).out).unwrap();
        assert_eq!((&json["valid"], &json["error"]["code"]), (&false.into(), &bad.code.into()), "{json}");
        assert_eq!(json["error"]["errors"][0]["file"], file.as_str(), "{json}");
        is_told(&bad, &json["error"]["errors"]);
        assert!(json["error"]["next"].is_string(), "{json}");
    }
}

/// All faults of which none hides another, in one document.
fn all_at_once() -> String {
    format!(
        "{HEAD}steps:\n  a:\n    set: 1\n    dependsOn: [b]\n  b:\n    set: 1\n    dependsOn: [a]\n  c:\n    set: \"${{ 1 + 'x' }}\"\n    wehn: true\n  d:\n    set: \"{}\"\n    dependsOn: [cc]\n  e:\n    set: 1\n    timeout: 30\n",
        long()
    )
}

const ALL: [(&str, u64); 6] = [
    ("/steps/a/dependsOn", 5),
    ("/steps/c/set", 10),
    ("/steps/c/wehn", 11),
    ("/steps/d/set", 13),
    ("/steps/d/dependsOn/0", 14),
    ("/steps/e/timeout", 17),
];

#[test]
fn all_faults_come_at_once() {
    let found = |errors: &Value| -> Vec<(String, u64)> {
        let errors = errors.as_array().unwrap().iter();
        errors.map(|e| (e["pointer"].as_str().unwrap().to_owned(), e["line"].as_u64().unwrap())).collect()
    };
    let wanted: Vec<(String, u64)> = ALL.iter().map(|(p, line)| ((*p).to_owned(), *line)).collect();
    let text = all_at_once();
    let problem = ask("POST", "/v1/workflows", &[("Content-Type", "application/yaml")], &text)
        .is_problem(422, "workflow_invalid");
    assert_eq!(found(&problem["errors"]), wanted, "{problem}");
    assert_eq!(problem["detail"], "the workflow has 6 faults");
    let place = Place::new();
    place.write("all.yaml", &text);
    let json: Value =
        serde_json::from_str(&place.heddle(&["workflow", "validate", "all.yaml", "--json"]).out).unwrap();
    assert_eq!(found(&json["error"]["errors"]), wanted, "{json}");
    let said = place.heddle(&["workflow", "validate", "all.yaml"]);
    for (pointer, line) in ALL {
        assert!(
            said.err.contains(&format!("all.yaml:{line}:")) && said.err.contains(&format!("({pointer})")),
            "{}",
            said.err
        );
    }
    assert!(said.err.contains("`all.yaml` has 6 faults"), "{}", said.err);
}
