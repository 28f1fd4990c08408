//! Webhooks of the real binary, to receivers at real sockets: what comes, whether the libraries of others believe it,
//! what a receiver's answers lead to, and what a kill leaves behind.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::receiver::{Came, Receiver};
use heddle_tests::{Server, bash, guide, tools, workflow};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// What a node needs that sends to this machine.
const OPEN: &[(&str, &str)] =
    &[("HEDDLE_EGRESS_ALLOW_PRIVATE", "127.0.0.0/8"), ("HEDDLE_LIMITS_WEBHOOK_RETRY_MS", "200ms")];

fn configured(folder: &Path, more: &str) {
    let text = format!("{more}\n[webhook_secrets]\nhook-key = \"file:hook.txt\"\n");
    std::fs::write(folder.join("hook.txt"), SECRET).unwrap();
    std::fs::write(folder.join("heddle.toml"), text).unwrap();
}

/// A workflow that tells this address of these events.
fn telling(url: &str, events: &str) -> String {
    let body = format!(
        "notify: [{{webhook: \"{url}\", events: [{events}], secret: hook-key}}]\nsteps: {{a: {{set: \"a secret output\"}}}}"
    );
    workflow("telling", &body)
}

/// The deliveries of a run, oldest first, when none of them waits.
fn settled(server: &Server, run: &str) -> Vec<Value> {
    server.until(|| {
        let page = server.get(&format!("/v1/runs/{run}/deliveries")).body;
        let mut items = page["items"].as_array().unwrap().clone();
        items.reverse();
        let ended = !items.is_empty() && items.iter().all(|item| item["status"] != "waiting");
        ended.then_some(items)
    })
}

/// Asks the libraries of others whether they believe what came, and gives what they read.
fn believed(folder: &Path, secret: &str, came: &Came, change: &str) -> Result<Value, String> {
    let message = json!({
        "secret": secret,
        "headers": came.headers,
        "body": String::from_utf8(came.body.clone()).unwrap(),
    });
    let script = format!(
        "import json, sys\n\
         from standardwebhooks.webhooks import Webhook\n\
         from cloudevents.core.formats.json import JSONFormat\n\
         from cloudevents.core.v1.event import CloudEvent\n\
         message = json.load(open(sys.argv[1]))\n\
         headers, body = message['headers'], message['body']\n\
         {change}\n\
         Webhook(message['secret']).verify(body, headers)\n\
         event = JSONFormat().read(CloudEvent, body.encode())\n\
         print(json.dumps({{'type': event.get_type(), 'source': event.get_source(), 'subject': event.get_subject(),\n\
         'sequence': event.get_extension('sequence'), 'data': event.get_data(), 'id': event.get_id()}}))\n"
    );
    std::fs::write(folder.join("message.json"), message.to_string()).unwrap();
    let python = tools::python("webhooks", &["standardwebhooks==1.1.0", "cloudevents==2.2.0"]);
    let output =
        Command::new(python).args(["-c", &script]).arg(folder.join("message.json")).output().unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// Case 55.
#[test]
fn libraries_of_others_believe_it() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
    configured(folder.path(), "");
    let server = Server::start(folder.path(), OPEN);
    let run = server.submit(&telling(&receiver.url("200"), "run.*"), json!({}));
    let deliveries = settled(&server, &run);
    let told: Vec<&str> = deliveries.iter().map(|one| one["event"].as_str().unwrap()).collect();
    assert_eq!(told, ["run.queued", "run.running", "run.succeeded"]);
    let came = receiver.came("200");
    assert_eq!(came.len(), 3);
    for came in &came {
        assert!(!String::from_utf8_lossy(&came.body).contains("a secret output"));
        assert_eq!(came.header("content-type"), "application/cloudevents+json");
        let read = believed(folder.path(), SECRET, came, "").unwrap();
        let delivery = deliveries.iter().find(|one| one["id"] == came.header("webhook-id")).unwrap();
        assert_eq!((&read["type"], &read["data"]["run"]), (&delivery["event"], &json!(run)));
        assert_eq!(
            (&read["subject"], &read["source"]),
            (&json!(format!("runs/{run}")), &json!("heddle:test/telling"))
        );
    }
    for (change, says) in [
        ("body = json.dumps(json.loads(body))", "No matching signature"),
        ("headers['webhook-timestamp'] = str(int(headers['webhook-timestamp']) - 301)", "timestamp"),
        ("headers['webhook-id'] = 'msg_other'", "No matching signature"),
    ] {
        let refused = believed(folder.path(), SECRET, &came[0], change).unwrap_err();
        assert!(refused.contains(says), "{change}: {refused}");
    }
    let whole = server.get(&format!("/v1/deliveries/{}", came[0].header("webhook-id"))).body;
    assert_eq!(whole["message"], came[0].json(), "what is shown is what was sent");
    let metrics = server.text("/metrics");
    assert!(metrics.contains("heddle_webhook_deliveries_total{outcome=\"delivered\"} 3"), "{metrics}");
    let log = std::fs::read_to_string(folder.path().join("server.log")).unwrap();
    assert!(!log.contains("MfKQ9r8GKYqr"), "a secret stands in the log");
}

/// Case 54.
#[test]
fn what_a_receiver_answers_decides() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
    configured(folder.path(), "");
    let env = [OPEN, &[("HEDDLE_LIMITS_WEBHOOK_MS", "500ms"), ("HEDDLE_LIMITS_WEBHOOK_TRIES", "4")]].concat();
    let server = Server::start(folder.path(), &env);
    let run = |script: &str| server.submit(&telling(&receiver.url(script), "run.succeeded"), json!({}));
    let (again, never) = (run("500,hang,404,200"), run("500"));
    let (redirected, gone) = (run("302;location=elsewhere,200"), run("410"));
    let busy = run("429;retry-after=2,200");
    let statuses = |run: &str| -> Vec<Value> {
        let delivery = settled(&server, run).remove(0);
        delivery["tries"].as_array().unwrap().iter().map(|tried| tried["status"].clone()).collect()
    };
    assert_eq!(statuses(&again), [json!(500), Value::Null, json!(404), json!(200)]);
    let delivery = settled(&server, &again).remove(0);
    assert_eq!(delivery["tries"][1]["error"]["kind"], "egress_timeout", "{delivery}");
    let came = receiver.came("500,hang,404,200");
    assert!(came.iter().all(|one| one.header("webhook-id") == delivery["id"] && one.body == came[0].body));
    let stamps: Vec<&str> = came.iter().map(|one| one.header("webhook-timestamp")).collect();
    assert!(stamps.is_sorted() && stamps[0] != stamps[3], "{stamps:?}");
    assert_eq!(statuses(&redirected), [json!(302), json!(200)]);
    assert_eq!(settled(&server, &gone)[0]["status"], "failed");
    assert_eq!(statuses(&busy), [json!(429), json!(200)]);
    let waited = receiver.came("429;retry-after=2,200");
    assert!(waited[1].at - waited[0].at >= Duration::from_secs(2));
    let given_up = settled(&server, &never).remove(0);
    assert_eq!((&given_up["status"], given_up["tries"].as_array().unwrap().len()), (&json!("failed"), 4));
    for run in [again, never, redirected, gone, busy] {
        assert_eq!(server.ended(&run)["status"], "succeeded", "the run knows nothing of it");
    }

    // Once more, by hand; one that is gone has to be switched on first.
    let failed = server.get("/v1/deliveries?status=failed").body["items"].as_array().unwrap().clone();
    assert_eq!(failed.len(), 2);
    let of_gone = failed.iter().find(|one| one["tries"][0]["status"] == 410).unwrap();
    let refused =
        server.post(&format!("/v1/deliveries/{}/redeliver", of_gone["id"].as_str().unwrap()), &json!({}));
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("webhook_conflict")), "{refused:?}");
    let listed = server.get("/v1/webhooks").body["items"][0].clone();
    assert_eq!((&listed["level"], &listed["enabled"]), (&json!("workflow"), &json!(false)), "{listed}");
    let script = format!(
        "heddle doctor || true\nheddle webhooks enable {}\nheddle webhooks redeliver {}",
        listed["id"].as_str().unwrap(),
        of_gone["id"].as_str().unwrap()
    );
    let said = bash(&server, folder.path(), &script);
    let text = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && text.contains("nothing is sent to 1 webhook"), "{text}");
    server.until(|| (receiver.came("410").len() == 2).then_some(()));
}

/// Case 53.
#[test]
fn what_may_not_be_dialled_is_not() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
    configured(folder.path(), "");
    let server = Server::start(folder.path(), &[]);
    let port = receiver.url("").trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "10.0.0.1",
        "169.254.169.254",
        "[::ffff:7f00:1]",
        "0x7f.1",
        "2130706433",
    ] {
        let run = server.submit(&telling(&format!("http://{host}:{port}/200"), "run.succeeded"), json!({}));
        let delivery = settled(&server, &run).remove(0);
        assert_eq!(
            (&delivery["status"], &delivery["tries"][0]["error"]["kind"]),
            (&json!("failed"), &json!("egress_denied")),
            "{delivery}"
        );
        let message = delivery["tries"][0]["error"]["message"].as_str().unwrap();
        assert!(message.contains("egress.allow_private"), "{message}");
        assert_eq!(delivery["tries"].as_array().unwrap().len(), 1);
    }
    assert!(receiver.all().is_empty(), "something was dialled");
}

/// What a receiver needs that encrypts: a certificate of `localhost`, and who vouches for it.
const CERTIFICATES: &str = "
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca
openssl req -newkey rsa:2048 -nodes -keyout leaf.key -out leaf.csr -subj /CN=localhost
printf 'subjectAltName=DNS:localhost\\n' > names.txt
openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out leaf.pem -days 2 -extfile names.txt
";
const ENCRYPTED: &str = "
import http.server, ssl
class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers['content-length']))
        self.send_response(204)
        self.end_headers()
server = http.server.HTTPServer(('127.0.0.1', 0), Receiver)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('leaf.pem', 'leaf.key')
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
";

#[test]
fn an_encrypted_receiver_has_to_prove_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("bash").args(["-euc", CERTIFICATES]).current_dir(folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut receiver = Command::new("python3")
        .args(["-c", ENCRYPTED])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut port = String::new();
    BufReader::new(receiver.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let trusted = folder.path().join("ca.pem");
    let env = [OPEN, &[("SSL_CERT_FILE", trusted.to_str().unwrap()), ("SSL_CERT_DIR", "")]].concat();
    let mut server = Server::start(folder.path(), &env);
    let tried = |server: &Server, host: &str| -> Value {
        let url = format!("https://{host}:{}/", port.trim());
        let made = server.post("/v1/webhooks", &json!({"url": url, "events": ["run.*"]})).body;
        let sent =
            server.post(&format!("/v1/webhooks/{}/test", made["id"].as_str().unwrap()), &json!({})).body;
        let delivery = format!("/v1/deliveries/{}", sent["id"].as_str().unwrap());
        server.until(|| {
            let tries = server.get(&delivery).body["tries"].clone();
            (tries != json!([])).then(|| tries[0].clone())
        })
    };
    assert_eq!(tried(&server, "localhost")["status"], 204);
    let message = |tried: Value| tried["error"]["message"].as_str().unwrap_or_default().to_owned();
    let other = message(tried(&server, "127.0.0.1"));
    assert!(other.contains("no encrypted connection to `127.0.0.1`"), "{other}");
    server.terminate();
    let server = Server::start_at(folder.path(), &server.url, OPEN);
    let stranger = message(tried(&server, "localhost"));
    assert!(stranger.contains("invalid peer certificate"), "{stranger}");
    receiver.kill().unwrap();
    receiver.wait().unwrap();
}

#[test]
fn webhooks_over_http_and_on_the_command_line() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
    let of_node = format!(
        "[webhooks.ops]\nurl = \"{}\"\nevents = [\"run.failed\"]\nsecret = \"hook-key\"\n",
        receiver.url("node/200")
    );
    configured(folder.path(), &of_node);
    let server = Server::start(folder.path(), OPEN);
    let make = |body: &Value| server.post_with("/v1/webhooks", body, &[("heddle-user", "ana")]);
    let made =
        make(&json!({"url": receiver.url("all/200"), "events": ["run.*"], "workflow": "test/telling"}));
    assert_eq!((made.status, &made.body["by"]), (201, &json!("ana")), "{made:?}");
    let (id, secret) = (made.body["id"].as_str().unwrap(), made.body["secret"].as_str().unwrap());
    let read = server.get(&format!("/v1/webhooks/{id}"));
    assert_eq!((read.status, &read.body["secret"]), (200, &Value::Null), "{read:?}");
    let run = server.submit(&workflow("telling", "steps: {a: {set: 1}}"), json!({}));
    settled(&server, &run);
    assert_eq!(receiver.came("all/200").len(), 3);
    believed(folder.path(), secret, &receiver.came("all/200")[0], "").unwrap();
    // Another workflow is none of its business.
    let other = server.submit(&workflow("other", "steps: {a: {set: 1}}"), json!({}));
    server.ended(&other);
    assert_eq!(server.get(&format!("/v1/runs/{other}/deliveries")).body["items"], json!([]));

    // Two secrets for a while.
    let script =
        format!("heddle --json webhooks rotate {id} && heddle webhooks test {id} && heddle webhooks ls");
    let said = bash(&server, folder.path(), &script);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success(), "{text}{}", String::from_utf8_lossy(&said.stderr));
    let rotated = text.lines().find_map(|line| line.trim().strip_prefix("\"secret\": \"")?.split('"').next());
    let rotated = rotated.unwrap().to_owned();
    let test = receiver.came("all/200").pop().unwrap();
    assert_eq!(
        (test.json()["type"].as_str().unwrap(), test.header("webhook-signature").split(' ').count()),
        ("webhook.test", 2)
    );
    for secret in [secret, &rotated] {
        believed(folder.path(), secret, &test, "").unwrap();
    }
    assert!(text.contains("node-ops") && text.contains(id), "{text}");

    let script =
        format!("heddle webhooks disable {id} && heddle webhooks test {id} || heddle webhooks rm {id}");
    assert!(bash(&server, folder.path(), &script).status.success());
    assert_eq!(server.get(&format!("/v1/webhooks/{id}")).status, 404);
}

#[test]
fn what_is_wrong_with_a_wish_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let of_node =
        "[webhooks.ops]\nurl = \"https://a.example/\"\nevents = [\"help.*\"]\nsecret = \"hook-key\"\n";
    configured(folder.path(), of_node);
    let server = Server::start(folder.path(), OPEN);
    for (body, code, pointer) in [
        (json!({"url": "ftp://a.example/", "events": ["run.*"]}), "webhook_invalid", "/url"),
        (json!({"url": "https://a.example/", "events": ["run.suceeded"]}), "webhook_invalid", "/events/0"),
        (json!({"url": "https://a.example/", "events": ["log"]}), "webhook_invalid", "/events/0"),
        (json!({"url": "https://a.example/", "events": []}), "webhook_invalid", "/events"),
        (
            json!({"url": "https://a.example/", "events": ["run.*"], "workflow": "x"}),
            "webhook_invalid",
            "/workflow",
        ),
        (json!({"url": "https://a.example/"}), "body_invalid", "/events"),
        (
            json!({"url": "https://a.example/", "events": ["run.*"], "secret": SECRET}),
            "body_invalid",
            "/secret",
        ),
    ] {
        let refused = server.post("/v1/webhooks", &body);
        assert_eq!(
            (&refused.body["code"], &refused.body["errors"][0]["pointer"]),
            (&json!(code), &json!(pointer)),
            "{refused:?}"
        );
    }
    for (path, status, code) in [
        ("/v1/webhooks/node-ops/rotate", 409, "webhook_conflict"),
        ("/v1/webhooks/wh_none/test", 404, "webhook_not_found"),
        ("/v1/deliveries/msg_none/redeliver", 404, "delivery_not_found"),
        ("/v1/deliveries/msg_00000000000000000000000000000000/redeliver", 404, "delivery_not_found"),
    ] {
        let refused = server.post(path, &json!({}));
        assert_eq!((refused.status, &refused.body["code"]), (status, &json!(code)), "{path}: {refused:?}");
    }
    assert_eq!(server.get("/v1/runs/0192f000-1234-7abc-8def-0123456789ab/deliveries").status, 404);
    let refused = server.post_bytes(
        "/v1/workflows",
        "application/yaml",
        telling("https://a.example/", "run.*").replace("hook-key", "hook-kye"),
    );
    assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!("/notify/0/secret")));
    assert!(
        refused.body["errors"][0]["message"].as_str().unwrap().contains("did you mean `hook-key`?"),
        "{refused:?}"
    );
}

#[test]
fn what_was_owed_when_the_node_was_killed_comes_under_the_same_id() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
    configured(folder.path(), "");
    let mut server = Server::start(folder.path(), OPEN);
    let made = server
        .post("/v1/webhooks", &json!({"url": receiver.url("own/hang,200"), "events": ["run.succeeded"]}));
    let secret = made.body["secret"].as_str().unwrap().to_owned();
    let mut runs = Vec::new();
    for life in 0..4 {
        let script = format!("{life}/hang,200");
        let run = server.submit(&telling(&receiver.url(&script), "run.succeeded"), json!({}));
        // In the middle of sending it.
        server.until(|| (!receiver.came(&script).is_empty()).then_some(()));
        runs.push((run, script));
        server.kill();
        server = Server::start_at(folder.path(), &server.url, OPEN);
    }
    for (run, script) in &runs {
        let deliveries = settled(&server, run);
        assert_eq!(deliveries.len(), 2, "its workflow's, and the tenant's: {deliveries:?}");
        assert!(deliveries.iter().all(|one| one["status"] == "delivered"), "{deliveries:?}");
        let came = receiver.came(script);
        assert!(came.len() >= 2 && came.iter().all(|one| one.body == came[0].body));
        assert!(came.iter().all(|one| one.header("webhook-id") == came[0].header("webhook-id")));
        believed(folder.path(), SECRET, came.last().unwrap(), "").unwrap();
    }
    // The secret that was shown before the kills is still the one that signs, and stands nowhere in the database.
    believed(folder.path(), &secret, receiver.came("own/hang,200").last().unwrap(), "").unwrap();
    server.terminate();
    for file in ["heddle.db", "heddle.db-wal"] {
        let bytes = std::fs::read(folder.path().join(file)).unwrap_or_default();
        let found = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(
            !found(secret.trim_start_matches("whsec_")) && !found(&SECRET[6..]),
            "a secret stands in {file}"
        );
    }
}

#[test]
fn what_the_guide_shows() {
    let blocks = guide("webhooks");
    let folder = tempfile::tempdir().unwrap();
    let of = |wanted| blocks.iter().filter(move |(language, _)| language == wanted).collect::<Vec<_>>();
    let (yaml, sh, toml, python) = (of("yaml"), of("sh"), of("toml"), of("python"));
    assert_eq!((yaml.len(), sh.len(), toml.len(), python.len()), (1, 2, 1, 1));
    std::fs::write(folder.path().join("invoice.yaml"), &yaml[0].1).unwrap();
    std::fs::write(folder.path().join("heddle.toml"), &toml[0].1).unwrap();
    let server =
        Server::start(folder.path(), &[("HOOK_KEY", SECRET), ("HEDDLE_EGRESS_ALLOW_PRIVATE", "127.0.0.0/8")]);
    let said: Vec<String> = sh
        .iter()
        .map(|(_, script)| {
            let output = bash(&server, folder.path(), script);
            let text = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            assert!(output.status.success(), "$ {script}\n{text}");
            text
        })
        .collect();
    assert!(said[0].contains("run.succeeded") && said[0].contains("waiting"), "{}", said[0]);
    assert!(said[0].contains("whsec_") && said[0].contains("node-ops"), "{}", said[0]);
    assert!(said[1].contains("it is from whoever has the secret"), "{}", said[1]);
    let receiver = Receiver::start();
    let made =
        server.post("/v1/webhooks", &json!({"url": receiver.url("200"), "events": ["run.succeeded"]})).body;
    let run = server.submit(&workflow("told", "steps: {a: {set: 1}}"), json!({}));
    server.until(|| (!receiver.came("200").is_empty()).then_some(()));
    let came = receiver.came("200").remove(0);
    std::fs::write(folder.path().join("receiver.py"), &python[0].1).unwrap();
    let call = "import json, sys; from receiver import receive; m = json.load(open('m.json')); print(*receive(m['headers'], m['body'], m['secret']))";
    let message = json!({"headers": came.headers, "body": String::from_utf8(came.body.clone()).unwrap(), "secret": made["secret"]});
    std::fs::write(folder.path().join("m.json"), message.to_string()).unwrap();
    let python = tools::python("webhooks", &["standardwebhooks==1.1.0", "cloudevents==2.2.0"]);
    let read = Command::new(python).args(["-c", call]).current_dir(folder.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&read.stdout).trim(), format!("run.succeeded {run}"), "{read:?}");
}
