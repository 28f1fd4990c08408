//! Triggers of the real binary: what others send to their addresses, by the libraries of others, and that each event has
//! one run however often the node is killed.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::{Server, tools, workflow};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn configured(folder: &Path) {
    std::fs::write(folder.join("hook.txt"), SECRET).unwrap();
    std::fs::write(folder.join("heddle.toml"), "[webhook_secrets]\nhook-key = \"file:hook.txt\"\n").unwrap();
}

fn publish(server: &Server, name: &str, body: &str) {
    let published = server.post_bytes("/v1/workflows", "application/yaml", workflow(name, body));
    assert_eq!(published.status, 201, "{published:?}");
}

/// All runs of a workflow, by the label `event`.
fn by_event(server: &Server, name: &str) -> BTreeMap<String, Vec<String>> {
    let (mut found, mut cursor) = (BTreeMap::<String, Vec<String>>::new(), String::new());
    loop {
        let page = server.get(&format!("/v1/runs?limit=200&workflow=test/{name}{cursor}")).body;
        for run in page["items"].as_array().unwrap() {
            let event = run["labels"]["event"].as_str().unwrap().to_owned();
            found.entry(event).or_default().push(run["id"].as_str().unwrap().to_owned());
        }
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

/// What became of the events for a trigger, when nothing is owed to it any more.
fn settled(server: &Server, trigger: &str) -> Vec<Value> {
    server.until(|| {
        let shown = server.get(&format!("/v1/triggers/{trigger}")).body;
        let items = shown["deliveries"].as_array().unwrap().clone();
        items.iter().all(|item| item["status"] != "waiting").then_some(items)
    })
}

/// Headers and body that the library of others makes of a message.
fn signed(scheme: &str, id: &str, body: &str) -> Vec<(String, String)> {
    let script = "import sys, json, time, hmac, hashlib, datetime\n\
         scheme, id, body, secret = sys.argv[1:]\n\
         now = int(time.time())\n\
         if scheme == 'standard':\n\
         \x20   from standardwebhooks.webhooks import Webhook\n\
         \x20   at = datetime.datetime.fromtimestamp(now, tz=datetime.timezone.utc)\n\
         \x20   signature = Webhook(secret).sign(id, at, body)\n\
         \x20   headers = {'webhook-id': id, 'webhook-timestamp': str(now), 'webhook-signature': signature}\n\
         elif scheme == 'github':\n\
         \x20   mac = hmac.new(secret.encode(), body.encode(), hashlib.sha256).hexdigest()\n\
         \x20   headers = {'X-GitHub-Delivery': id, 'X-GitHub-Event': 'push', 'X-Hub-Signature-256': 'sha256=' + mac}\n\
         else:\n\
         \x20   mac = hmac.new(secret.encode(), f'{now}.{body}'.encode(), hashlib.sha256).hexdigest()\n\
         \x20   headers = {'Stripe-Signature': f't={now},v1={mac}'}\n\
         \x20   import stripe\n\
         \x20   stripe.WebhookSignature.verify_header(body, headers['Stripe-Signature'], secret, tolerance=300)\n\
         print(json.dumps(list(headers.items())))\n";
    let python = tools::python("triggers", &["standardwebhooks==1.1.0", "stripe==12.5.1"]);
    let output = Command::new(python).args(["-c", script, scheme, id, body, SECRET]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn what_others_send_is_believed_and_starts_one_run() {
    let folder = tempfile::tempdir().unwrap();
    configured(folder.path());
    let server = Server::start(folder.path(), &[]);
    for scheme in ["standard", "github", "stripe"] {
        let body = format!(
            "triggers: [{{webhook: {scheme}, secret: hook-key, match: \"${{ event.data.n > 0 }}\", input: {{n: \"${{ event.data.n }}\", by: \"${{ event.by }}\", names: \"${{ event.headers }}\"}}}}]\nsteps: {{a: {{set: \"${{ input }}\"}}}}\noutput: {{as: \"${{ steps.a.output }}\"}}"
        );
        publish(&server, scheme, &body);
        let trigger = format!("test.{scheme}.{scheme}");
        let path = format!("/v1/hooks/{trigger}");
        let send = |body: &str, headers: &[(String, String)]| {
            let mut all = vec![("authorization", "Bearer of-a-proxy")];
            all.extend(headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            server.post_text(&path, body, &all)
        };
        let body = format!("{{\"n\": 7, \"of\": \"{scheme}\"}}");
        let headers = signed(scheme, "msg_1", &body);
        // As a sender does who has got no answer.
        for _ in 0..3 {
            let taken = send(&body, &headers);
            assert_eq!((taken.status, &taken.body["starts"]), (202, &json!(true)), "{taken:?}");
        }
        let small = "{\"n\": 0}";
        let unwanted = send(small, &signed(scheme, "msg_2", small));
        assert_eq!((unwanted.status, &unwanted.body["starts"]), (202, &json!(false)), "{unwanted:?}");
        for (forged, headers) in [(body.replace('7', "8"), headers.as_slice()), (body.clone(), &[])] {
            let refused = send(&forged, headers);
            let code = &refused.body["code"];
            assert_eq!((refused.status, code), (401, &json!("message_unverified")), "{refused:?}");
        }
        let told = settled(&server, &trigger);
        let runs: BTreeSet<&str> = told.iter().map(|one| one["tries"][0]["run"].as_str().unwrap()).collect();
        assert_eq!((told.len(), runs.len()), (3, 1), "{told:?}");
        let run = server.ended(runs.first().unwrap());
        assert_eq!(
            (&run["output"]["n"], &run["output"]["by"]),
            (&json!(7), &json!(format!("webhook:{scheme}")))
        );
        let names = run["output"]["names"].as_object().unwrap();
        assert!(!names.keys().any(|name| name.contains("signature") || name == "authorization"), "{names:?}");
        assert_eq!(names.contains_key("x-github-event"), scheme == "github");
    }
    let log = std::fs::read_to_string(folder.path().join("server.log")).unwrap();
    assert!(!log.contains("MfKQ9r8GKYqr"), "a secret stands in the log");
}

#[test]
fn what_is_no_message_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    configured(folder.path());
    let server = Server::start(folder.path(), &[("HEDDLE_LIMITS_HOOK_BYTES", "100")]);
    let steps = "steps: {a: {set: 1}}";
    publish(
        &server,
        "w",
        &format!("triggers: [{{webhook: standard, secret: hook-key}}, {{event: paid}}]\n{steps}"),
    );
    let unknown = server.post_bytes(
        "/v1/workflows",
        "application/yaml",
        workflow("x", &format!("triggers: [{{webhook: standard, secret: hok-key}}]\n{steps}")),
    );
    assert_eq!(unknown.body["errors"][0]["pointer"], "/triggers/0/secret", "{unknown:?}");
    assert!(unknown.body["errors"][0]["message"].as_str().unwrap().contains("did you mean `hook-key`?"));
    let hook = "/v1/hooks/test.w.standard";
    for (path, content, body, status, code) in [
        ("/v1/hooks/test.w.none", "application/json", "{}", 404, "trigger_not_found"),
        // It listens to events, not to others.
        ("/v1/hooks/test.w.paid", "application/json", "{}", 404, "trigger_not_found"),
        ("/v1/hooks/..%2f..", "application/json", "{}", 404, "trigger_not_found"),
        (hook, "application/x-www-form-urlencoded", "n=1", 415, "unsupported_media_type"),
        (hook, "application/json", "{\"n\":", 400, "json_invalid"),
        (hook, "application/json", &"1".repeat(101), 413, "body_too_large"),
        (hook, "application/json", "{}", 401, "message_unverified"),
        ("/v1/triggers/test.w.paid/pause", "application/json", "{\"reason\": 1}", 400, "body_invalid"),
        ("/v1/triggers/test.w.none/pause", "application/json", "{}", 404, "trigger_not_found"),
        ("/v1/events", "application/json", "{\"name\": \"a\", \"id\": \"\"}", 400, "body_invalid"),
    ] {
        let refused = server.post_bytes(path, content, body.to_owned());
        assert_eq!((refused.status, &refused.body["code"]), (status, &json!(code)), "{path}: {refused:?}");
    }
    let listed = server.get("/v1/triggers?limit=1").body;
    assert_eq!(listed["items"][0]["id"], "test.w.paid");
    let next = server.get(&format!("/v1/triggers?cursor={}", listed["cursor"].as_str().unwrap())).body;
    assert_eq!((&next["items"][0]["path"], &next["cursor"]), (&json!(hook), &Value::Null));
}

/// Runs emit and end while the node is killed again and again; in the end each event has one run, and each end one.
#[test]
fn each_event_has_one_run_however_often_the_node_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    publish(&server, "heard", "triggers: [{event: said}]\nsteps: {a: {set: 1}}");
    publish(&server, "after", "triggers: [{run: test/source}]\nsteps: {a: {set: 1}}");
    publish(
        &server,
        "source",
        "steps: {a: {set: 1}, say: {emit: {event: said, data: 1}, dependsOn: [a]}, b: {wait: 5ms, dependsOn: [say]}}",
    );
    let mut sent = BTreeSet::new();
    for life in 0..8 {
        for n in 0..20 {
            let key = format!("{life}-{n}");
            let asked = json!({"workflow": "test/source", "input": {}});
            server.post_with("/v1/runs", &asked, &[("idempotency-key", &key)]);
            let id = format!("outside-{life}-{n}");
            if server.post("/v1/events", &json!({"name": "said", "id": id})).status == 202 {
                sent.insert(id);
            }
        }
        // At a moment that is the machine's affair: something is owed, something is under way.
        server.kill();
        server = Server::start_at(folder.path(), &server.url, &[]);
    }
    let sources = |server: &Server| -> Vec<String> {
        let page = server.get("/v1/runs?limit=200&workflow=test/source").body;
        let items = page["items"].as_array().unwrap().iter();
        items.map(|run| run["id"].as_str().unwrap().to_owned()).collect()
    };
    let sources = sources(&server);
    assert_eq!(sources.len(), 160);
    let ended = |run: &String| assert_eq!(server.ended(run)["status"], "succeeded");
    sources.iter().for_each(ended);
    let waiting =
        || server.get("/v1/deliveries?status=waiting&limit=1").body["items"].as_array().unwrap().len();
    server.until(|| (waiting() == 0).then_some(()));
    let wanted: BTreeSet<String> =
        sources.iter().map(|run| format!("{run}/say")).chain(sent.clone()).collect();
    let heard = by_event(&server, "heard");
    assert!(heard.values().all(|runs| runs.len() == 1), "an event has two runs: {heard:?}");
    assert_eq!(heard.keys().cloned().collect::<BTreeSet<_>>(), wanted);
    assert_eq!(sent.len(), 160);
    let wanted: BTreeSet<String> = sources.iter().map(|run| format!("{run}/end")).collect();
    let after = by_event(&server, "after");
    assert!(after.values().all(|runs| runs.len() == 1), "an end has two runs: {after:?}");
    assert_eq!(after.keys().cloned().collect::<BTreeSet<_>>(), wanted);
}
