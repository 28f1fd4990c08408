//! `heddle workflow fmt`, typed.

use crate::program::Place;
use serde_json::{Value, json};

const TYPED: &str = "# Greets.\nsteps:\n    a: {set: 1}   # one\ndocument: {version: 1.0.0, name: b, namespace: a, dsl: '1.0'}\n";
const LAID_OUT: &str = "# Greets.\ndocument: { dsl: \"1.0\", namespace: a, name: b, version: 1.0.0 }\nsteps:\n  a: { set: 1 } # one\n";

#[test]
fn a_file_is_printed_checked_and_written() {
    let place = Place::new();
    place.write("w.yaml", TYPED);
    let said = place.heddle(&["workflow", "fmt", "w.yaml"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), LAID_OUT), "{said:?}");
    let said = place.heddle(&["workflow", "fmt", "--check", "w.yaml"]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), "w.yaml\n"), "{said:?}");
    assert!(said.err.contains("1 file has another layout"), "{said:?}");
    assert_eq!(std::fs::read_to_string(place.path("w.yaml")).unwrap(), TYPED, "nothing was written");
    let said = place.heddle(&["workflow", "fmt", "--write", "w.yaml"]);
    assert!(said.code == Some(0) && said.err.contains("`w.yaml` is written"), "{said:?}");
    assert_eq!(std::fs::read_to_string(place.path("w.yaml")).unwrap(), LAID_OUT);
    let said = place.heddle(&["workflow", "fmt", "--check", "w.yaml"]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), "", ""), "{said:?}");
    let said = place.heddle(&["workflow", "fmt", "--json", "w.yaml"]);
    let shown: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(shown, json!([{"file": "w.yaml", "changed": false, "text": LAID_OUT}]));
}

#[test]
fn what_cannot_be_laid_out_is_said_before_anything_is_written() {
    let place = Place::new();
    place.write("w.yaml", TYPED);
    place.write("broken.yaml", "a: [1\nb: 2\n");
    let both = ["workflow", "fmt", "w.yaml", "gives.yaml"];
    place.heddle(&both).is_refused(&["2 files", "--write"]);
    place.heddle(&["workflow", "fmt"]).is_refused(&["FILES"]);
    place.heddle(&["workflow", "fmt", "--write", "--check", "w.yaml"]).is_refused(&["--check"]);
    place.heddle(&["workflow", "fmt", "nowhere.yaml"]).is_refused(&["`nowhere.yaml` cannot be read"]);
    place.heddle(&["workflow", "fmt", "--write", "w.yaml", "broken.yaml"]).is_refused(&["broken.yaml:2:"]);
    assert_eq!(std::fs::read_to_string(place.path("w.yaml")).unwrap(), TYPED, "nothing was written");
}
