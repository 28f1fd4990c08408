//! Components in OCI registries, at the real binary: the registry of Debian, a client that others wrote, and registries
//! that lie.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

#[path = "registry/scripted.rs"]
mod scripted;

use heddle_core::id::Digest;
use heddle_host::testkit::Guest;
use heddle_tests::registry::{Door, Registry};
use heddle_tests::{Server, binary, plugin, tools};
use scripted::{Says, Scripted, answer};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

fn teller(version: &str) -> Vec<u8> {
    Guest::tool("teller").version(version).build()
}

fn typed(folder: &Path, words: &[&str]) -> (Option<i32>, String) {
    typed_with(folder, words, &[])
}

fn typed_with(folder: &Path, words: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = Command::new(binary())
        .args(words)
        .current_dir(folder)
        // Nobody is logged in anywhere.
        .env("DOCKER_CONFIG", folder)
        .envs(env.iter().copied())
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    (status.code(), text)
}

/// Succeeds, and gives what was printed.
fn done(folder: &Path, words: &[&str]) -> String {
    let (code, text) = typed(folder, words);
    assert_eq!(code, Some(0), "{words:?}: {text}");
    text
}

/// A node that pulls `acme/*` of this registry.
fn configured(folder: &Path, host: &str, more: &str) {
    let text = format!(
        "[egress]\nallow_private = [\"127.0.0.1/32\"]\n[registries.\"{host}\"]\nrepositories = [\"acme/*\"]\nplain_http = true\n{more}"
    );
    std::fs::write(folder.join("heddle.toml"), text).unwrap();
}

fn pulled(server: &Server, from: &str) -> (u16, Value) {
    let answer = server.post("/v1/plugins", &json!({ "from": from }));
    (answer.status, answer.body)
}

/// What one says of a component that is being compiled, once it is done.
fn ended(server: &Server, component: &Value) -> Value {
    let path = format!("/v1/components/{}", component["digest"].as_str().unwrap());
    server.until(|| Some(server.get(&path).body).filter(|now| now["status"] != "compiling"))
}

/// Case 63: a tag that moves is told, and nothing that is loaded changes.
#[test]
fn a_component_goes_to_a_registry_and_comes_from_there() {
    let (data, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (at, registry) = (work.path(), Registry::start(work.path(), &Door::Open));
    let named = |tag: &str| registry.named(&format!("acme/tools/teller:{tag}"));
    done(at, &["plugin", "keygen", "our.key"]);
    let key = std::fs::read_to_string(at.join("our.pub")).unwrap().lines().last().unwrap().to_owned();
    configured(data.path(), &registry.host, &format!("[signatures]\nkeys = [\"{key}\"]\n"));
    let server = Server::start(data.path(), &[]);
    // Not signed: it is there for all to see, and a node that wants signatures does not take it.
    std::fs::write(at.join("a.wasm"), teller("1.0.0")).unwrap();
    let text = done(at, &["plugin", "push", "a.wasm", "--to", &named("1.0.0")]);
    assert!(text.contains("it is not signed"), "{text}");
    let (status, refused) = pulled(&server, &named("1.0.0"));
    assert_eq!((status, &refused["code"]), (403, &json!("signature_required")));
    // Signed: the signature goes along, as a manifest that refers to the component's.
    done(at, &["plugin", "sign", "a.wasm", "--key", "our.key"]);
    let pinned = done(at, &["plugin", "push", "a.wasm", "--to", &named("1.0.0")]).trim().to_owned();
    let (_, manifest) = pinned.split_once('@').unwrap();
    let text = done(at, &["plugin", "push", "--from", &named("1.0.0"), "--server", &server.url]);
    assert_eq!(text.trim(), format!("tool:teller@1.0.0 {manifest}"));
    let entry = server.get("/v1/plugins/teller").body["items"][0].clone();
    assert_eq!(entry["source"], json!({ "reference": named("1.0.0"), "manifest": manifest }));
    assert!(
        done(at, &["plugin", "verify", "a.wasm", "--key", &key])
            .contains(entry["signedBy"].as_str().unwrap())
    );
    assert_eq!(entry["digest"], Digest::of(&teller("1.0.0")).to_string());
    // By its digest, into a file, with the signature beside it.
    let text = done(at, &["plugin", "pull", &pinned, "-o", "back.wasm"]);
    assert!(text.contains("heddle plugin verify back.wasm"), "{text}");
    assert_eq!(std::fs::read(at.join("back.wasm")).unwrap(), teller("1.0.0"));
    done(at, &["plugin", "verify", "back.wasm", "--key", "our.pub"]);
    // The tag moves: to other bytes under the same version, then to another version.
    let others =
        Guest::tool("teller").version("1.0.0").body("(call $ok (i32.const 0) (i32.const 0))").build();
    std::fs::write(at.join("b.wasm"), others).unwrap();
    done(at, &["plugin", "sign", "b.wasm", "--key", "our.key"]);
    done(at, &["plugin", "push", "b.wasm", "--to", &named("1.0.0")]);
    let (status, moved) = pulled(&server, &named("1.0.0"));
    assert_eq!((status, &moved["source"]["was"]), (202, &json!(manifest)), "{moved}");
    assert_eq!(ended(&server, &moved)["failure"]["code"], "version_conflict");
    std::fs::write(at.join("c.wasm"), teller("1.1.0")).unwrap();
    done(at, &["plugin", "sign", "c.wasm", "--key", "our.key"]);
    done(at, &["plugin", "push", "c.wasm", "--to", &named("1.0.0")]);
    let text = done(at, &["plugin", "push", "--from", &named("1.0.0"), "--server", &server.url]);
    assert!(text.contains("has moved: it was sha256:") && text.contains("tool:teller@1.1.0"), "{text}");
    let all = server.get("/v1/plugins/teller").body;
    assert_eq!(all["items"][0]["source"]["manifest"], manifest, "what came first stays what it is: {all}");
    // Another name for the same, which then names something else.
    done(at, &["plugin", "push", "c.wasm", "--to", &named("latest")]);
    assert_eq!(pulled(&server, &named("latest")).1["source"].get("was"), None);
    done(at, &["plugin", "push", "a.wasm", "--to", &named("latest")]);
    assert!(pulled(&server, &named("latest")).1["source"]["was"].is_string());
    // Once more: it is loaded, and nothing has moved since.
    let (status, again) = pulled(&server, &named("1.0.0"));
    assert_eq!((status, &again["status"], again["source"].get("was")), (202, &json!("ready"), None));
}

/// Case 228.
#[test]
fn what_a_node_pulls_is_said_by_its_operator() {
    let (data, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let registry = Registry::start(work.path(), &Door::Open);
    configured(data.path(), &registry.host, "");
    let server = Server::start(data.path(), &[]);
    for (from, status, code, says) in [
        ("ghcr.io/acme/echo:1".to_owned(), 403, "registry_denied", "[registries.\"ghcr.io\"]"),
        (registry.named("other/echo:1"), 403, "registry_denied", "`acme/*`"),
        (registry.named("acme/echo:1"), 404, "component_not_found", "acme/echo:1"),
        ("echo:1".to_owned(), 400, "body_invalid", "registry.example/acme/echo:1.2.0"),
    ] {
        let (found, refused) = pulled(&server, &from);
        assert_eq!((found, refused["code"].as_str()), (status, Some(code)), "{from}: {refused}");
        assert!(refused["detail"].as_str().unwrap().contains(says), "{refused}");
    }
    for body in [json!([]), json!({}), json!({ "from": 1 }), json!({ "from": "a", "to": "b" })] {
        let refused = server.post("/v1/plugins", &body);
        assert_eq!((refused.status, &refused.body["code"]), (400, &json!("body_invalid")), "{refused:?}");
    }
    // A registry on this machine is no more open than any other address.
    let text = std::fs::read_to_string(data.path().join("heddle.toml")).unwrap();
    drop(server);
    std::fs::write(data.path().join("heddle.toml"), text.split_once("[registries").unwrap().1).unwrap();
    let closed = format!("[registries{}", text.split_once("[registries").unwrap().1);
    std::fs::write(data.path().join("heddle.toml"), closed).unwrap();
    let server = Server::start(data.path(), &[]);
    let (status, refused) = pulled(&server, &registry.named("acme/echo:1"));
    assert_eq!((status, &refused["code"]), (403, &json!("egress_denied")), "{refused}");
}

#[test]
fn who_asks_shows_who_it_is() {
    let (data, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (at, registry) = (work.path(), Registry::start(work.path(), &Door::Password));
    let named = registry.named("acme/teller:1.0.0");
    std::fs::write(at.join("a.wasm"), teller("1.0.0")).unwrap();
    let push = ["plugin", "push", "a.wasm", "--to", &named];
    let (code, text) = typed(at, &push);
    assert!(code == Some(1) && text.contains("refuses") && text.contains("docker login"), "{text}");
    let as_ann = [&push[..], &["--username", "ann"]].concat();
    let (code, text) = typed(at, &as_ann);
    assert!(code == Some(2) && text.contains("HEDDLE_REGISTRY_PASSWORD"), "{text}");
    let (code, text) = typed_with(at, &as_ann, &[("HEDDLE_REGISTRY_PASSWORD", "wrong")]);
    assert!(code == Some(1) && text.contains("`ann`") && !text.contains("wrong"), "{text}");
    let (code, text) = typed_with(at, &as_ann, &[("HEDDLE_REGISTRY_PASSWORD", "open sesame")]);
    assert_eq!(code, Some(0), "{text}");
    // What `docker login` keeps.
    let auth = json!({ "auths": { &*registry.host: { "auth": "YW5uOm9wZW4gc2VzYW1l" } } });
    std::fs::write(at.join("config.json"), auth.to_string()).unwrap();
    done(at, &["plugin", "pull", &named]);
    assert_eq!(std::fs::read(at.join("teller-1.0.0.wasm")).unwrap(), teller("1.0.0"));
    // A node: without the password, and with it.
    configured(data.path(), &registry.host, "");
    let server = Server::start(data.path(), &[]);
    let (status, refused) = pulled(&server, &named);
    assert_eq!((status, &refused["code"]), (502, &json!("registry_failed")), "{refused}");
    drop(server);
    configured(data.path(), &registry.host, "username = \"ann\"\npassword = \"env:OUR_PASSWORD\"\n");
    let server = Server::start(data.path(), &[("OUR_PASSWORD", "open sesame")]);
    let (status, taken) = pulled(&server, &named);
    assert_eq!((status, &ended(&server, &taken)["status"]), (202, &json!("ready")), "{taken}");
    let log = std::fs::read_to_string(data.path().join("server.log")).unwrap();
    assert!(!log.contains("open sesame"));
}

/// A registry that wants tokens, and the place that gives them.
#[test]
fn a_token_is_fetched_where_the_registry_says() {
    let (data, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let tokens = Scripted::start();
    tokens.says("/token", Says::Whole(answer(200, "", br#"{"token":"abc.def"}"#)));
    let realm = format!("http://{}/token", tokens.host);
    let (at, registry) = (work.path(), Registry::start(work.path(), &Door::Token(realm)));
    let named = registry.named("acme/teller:1.0.0");
    std::fs::write(at.join("a.wasm"), teller("1.0.0")).unwrap();
    done(at, &["plugin", "push", "a.wasm", "--to", &named]);
    configured(data.path(), &registry.host, "username = \"ann\"\npassword = \"env:OUR_PASSWORD\"\n");
    let server = Server::start(data.path(), &[("OUR_PASSWORD", "open sesame")]);
    let (status, taken) = pulled(&server, &named);
    assert_eq!((status, &ended(&server, &taken)["status"]), (202, &json!("ready")), "{taken}");
    let came = tokens.came();
    // What is about to be done is asked for, whatever the request at hand needs.
    assert!(came[0].contains("scope=repository%3Aacme%2Fteller%3Apull%2Cpush"), "{came:?}");
    assert!(!came[0].contains("authorization"), "{came:?}");
    assert!(came.last().unwrap().contains("authorization: Basic YW5uOm9wZW4gc2VzYW1l"), "{came:?}");
}

/// What others push is pulled, and what we push they can pull.
#[test]
fn a_client_that_others_wrote_reads_and_writes_the_same() {
    let (data, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (at, registry) = (work.path(), Registry::start(work.path(), &Door::Open));
    configured(data.path(), &registry.host, "");
    let server = Server::start(data.path(), &[]);
    let (ours, theirs) = (registry.named("acme/ours:1.0.0"), registry.named("acme/theirs:2.0.0"));
    std::fs::write(at.join("a.wasm"), teller("1.0.0")).unwrap();
    std::fs::write(at.join("b.wasm"), teller("2.0.0")).unwrap();
    std::fs::write(at.join("config.json"), "{}").unwrap();
    done(at, &["plugin", "push", "a.wasm", "--to", &ours]);
    let script = format!(
        "import oras.client\n\
         c = oras.client.OrasClient(insecure=True)\n\
         print(c.pull(target='{ours}', outdir='out'))\n\
         c.push(target='{theirs}', files=['b.wasm:application/wasm'], manifest_config='config.json:application/vnd.wasm.config.v0+json', disable_path_validation=True)\n"
    );
    let output =
        Command::new(tools::python_with_oras()).args(["-c", &script]).current_dir(at).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let (status, taken) = pulled(&server, &theirs);
    assert_eq!((status, &ended(&server, &taken)["plugin"]), (202, &json!("tool:teller@2.0.0")), "{taken}");
    assert_eq!(std::fs::read(at.join("out/a.wasm")).unwrap(), teller("1.0.0"));
}

/// A registry with one component under `acme/teller:1`, and what each part of it is sent as.
fn lying(scripted: &Scripted, change: impl FnOnce(&mut Value, &Scripted, &[u8])) {
    let component = teller("1.0.0");
    let digest = Digest::of(&component).to_string();
    let blob = format!("/v2/acme/teller/blobs/{digest}");
    scripted.says(&blob, Says::Whole(answer(200, "", &component)));
    let mut manifest = json!({
        "schemaVersion": 2,
        "config": { "mediaType": "application/vnd.wasm.config.v0+json", "digest": digest, "size": 2 },
        "layers": [{ "mediaType": "application/wasm", "digest": digest, "size": component.len() }],
    });
    change(&mut manifest, scripted, &component);
    let text = manifest.to_string();
    scripted.says("/v2/acme/teller/manifests/1", Says::Whole(answer(200, "", text.as_bytes())));
}

/// Case 64: a registry that sends too much, something else, or elsewhere.
#[test]
fn a_registry_that_lies_gets_nothing_in() {
    let (data, scripted) = (tempfile::tempdir().unwrap(), Scripted::start());
    configured(data.path(), &scripted.host, "");
    let server = Server::start(
        data.path(),
        &[("HEDDLE_LIMITS_REGISTRY_MS", "3s"), ("HEDDLE_LIMITS_COMPONENT_BYTES", "1MiB")],
    );
    let from = format!("{}/acme/teller:1", scripted.host);
    let blob = |component: &[u8]| format!("/v2/acme/teller/blobs/{}", Digest::of(component));
    let expect = |status: u16, code: &str, says: &str| {
        let (found, refused) = pulled(&server, &from);
        assert_eq!((found, refused["code"].as_str()), (status, Some(code)), "{refused}");
        assert!(refused["detail"].as_str().unwrap().contains(says), "{says}: {refused}");
    };
    lying(&scripted, |manifest, _, _| manifest["layers"][0]["size"] = json!(64_u64 << 30));
    expect(422, "component_invalid", "component_bytes");
    lying(&scripted, |_, scripted, component| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 64_u64 << 30);
        scripted.says(&blob(component), Says::Endless(head.into_bytes()));
    });
    expect(502, "registry_failed", "the answer has more than");
    lying(&scripted, |_, scripted, component| {
        let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
        scripted.says(&blob(component), Says::Endless(head.to_vec()));
    });
    expect(502, "registry_failed", "the answer has more than");
    lying(&scripted, |manifest, _, _| manifest["layers"][0]["mediaType"] = json!("application/tar+gzip"));
    expect(422, "component_invalid", "`application/tar+gzip`");
    lying(&scripted, |manifest, _, _| *manifest = json!({ "schemaVersion": 2, "manifests": [] }));
    expect(422, "component_invalid", "an index");
    // Other bytes, of the same size and of another.
    lying(&scripted, |_, scripted, component| {
        let mut other = component.to_vec();
        other[component.len() - 1] ^= 1;
        scripted.says(&blob(component), Says::Whole(answer(200, "", &other)));
    });
    expect(422, "component_invalid", "what the registry sent for");
    lying(&scripted, |_, scripted, component| {
        scripted.says(&blob(component), Says::Whole(answer(200, "", b"short")));
    });
    expect(422, "component_invalid", "its manifest says");
    // Into networks that are closed, in circles, and to where a token would go.
    let to = |location: &str| Says::Whole(answer(307, &format!("location: {location}\r\n"), b""));
    lying(&scripted, |_, scripted, component| {
        scripted.says(&blob(component), to("http://169.254.169.254/latest/meta-data"));
    });
    expect(403, "egress_denied", "169.254.169.254");
    lying(&scripted, |_, scripted, component| scripted.says(&blob(component), to(&blob(component))));
    expect(502, "registry_failed", "redirects more than");
    lying(&scripted, |_, scripted, component| {
        scripted.says(&blob(component), to("file:///etc/passwd"));
    });
    expect(502, "registry_failed", "is not followed");
    // Nothing, for longer than is waited.
    lying(&scripted, |_, scripted, component| scripted.says(&blob(component), Says::Silence));
    expect(502, "registry_failed", "registry_ms");
    assert_eq!(server.get("/v1/plugins/teller").status, 404, "nothing of it is loaded");
}

/// Credentials are for the registry: not for another host that it points to, and not for whom that one names. Case 229.
#[test]
fn credentials_go_to_the_registry_alone() {
    let data = tempfile::tempdir().unwrap();
    let (scripted, secret) = (Scripted::start(), Scripted::start());
    let from = format!("{}/acme/teller:1", scripted.host);
    let blob = |component: &[u8]| format!("/v2/acme/teller/blobs/{}", Digest::of(component));
    let to = |location: &str| Says::Whole(answer(307, &format!("location: {location}\r\n"), b""));
    configured(data.path(), &scripted.host, "username = \"ann\"\npassword = \"env:OUR_PASSWORD\"\n");
    let server = Server::start(data.path(), &[("OUR_PASSWORD", "open sesame")]);
    lying(&scripted, |_, scripted, component| {
        scripted.says(&blob(component), to(&format!("http://{}/elsewhere", secret.host)));
        secret.says("/elsewhere", Says::Whole(answer(200, "", component)));
    });
    let (status, taken) = pulled(&server, &from);
    assert_eq!((status, &ended(&server, &taken)["status"]), (202, &json!("ready")), "{taken}");
    assert!(secret.came().iter().all(|head| !head.contains("authorization")), "{:?}", secret.came());
    // Who is only pointed to cannot ask for them either.
    let thief = Scripted::start();
    let realm = format!("www-authenticate: Bearer realm=\"http://{}/steal\"\r\n", thief.host);
    secret.says("/elsewhere", Says::Whole(answer(401, &realm, b"")));
    let (status, refused) = pulled(&server, &from);
    assert_eq!((status, &refused["code"]), (502, &json!("registry_failed")), "{refused}");
    assert!(thief.came().is_empty(), "{:?}", thief.came());
}

/// What refers to a component is written by whoever may; what cannot be read of it is no reason to refuse the component. Case 230.
#[test]
fn what_refers_to_a_component_keeps_it_from_nobody() {
    let (data, scripted) = (tempfile::tempdir().unwrap(), Scripted::start());
    configured(data.path(), &scripted.host, "");
    let server = Server::start(data.path(), &[]);
    let from = format!("{}/acme/teller:1", scripted.host);
    let mut manifest = String::new();
    lying(&scripted, |text, _, _| manifest = Digest::of(text.to_string().as_bytes()).to_string());
    let gone = Digest::of(b"gone").to_string();
    let dangling = json!({ "manifests": [{ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": gone, "size": 3, "artifactType": "application/vnd.heddle.signature.minisign.v1" }] });
    for index in
        [dangling.to_string(), r#"{"manifests":null}"#.to_owned(), "nonsense".to_owned(), "[".repeat(100_000)]
    {
        let says = Says::Whole(answer(200, "", index.as_bytes()));
        scripted.says(&format!("/v2/acme/teller/referrers/{manifest}"), says);
        let (status, taken) = pulled(&server, &from);
        assert_eq!(
            (status, &ended(&server, &taken)["status"]),
            (202, &json!("ready")),
            "{index:.60}: {taken}"
        );
    }
    // A refusal that never ends is no reason to read it.
    let long = format!("[{}0]", "0,".repeat(8 << 20));
    scripted.says("/v2/acme/teller/manifests/1", Says::Whole(answer(500, "", long.as_bytes())));
    let (status, refused) = pulled(&server, &from);
    assert_eq!((status, &refused["code"]), (502, &json!("registry_failed")), "{refused}");
}

#[test]
fn what_an_operator_mistypes_is_told_where_it_stands() {
    let data = tempfile::tempdir().unwrap();
    for (text, says) in [
        ("[registries.\"https://ghcr.io\"]\nrepositories = [\"a/*\"]", "a registry is named by its host"),
        ("[registries.\"ghcr.io\"]\nrepository = [\"a/*\"]", "did you mean `registries.ghcr"),
        ("[registries.\"ghcr.io\"]\nrepositories = []", "heddle.toml:2"),
        ("[registries.\"ghcr.io\"]\nrepositories = [\"ghcr.io/a/*\"]", "write `a/*`, without the registry"),
        ("[registries.\"ghcr.io\"]\nrepositories = [\"A\"]", "not `A`"),
        ("[registries.\"ghcr.io\"]\nrepositories = [\"a\"]\nusername = \"x\"", "and not the other"),
    ] {
        std::fs::write(data.path().join("heddle.toml"), text).unwrap();
        let (code, said) = typed(data.path(), &["config", "show"]);
        assert!(code == Some(2) && said.contains(says), "{text}: {said}");
    }
}

const GREET: &str = "document: { dsl: \"1.0\", namespace: acme, name: greet, version: 1.0.0 }\n# For whoever reads it.\nsteps:\n  ask: { call: \"tool:echo@^0.1\", with: { value: \"${ input.name }\" } }\n  same: { call: \"transform:identity\", with: { value: \"${ steps.ask.output.value }\" } }\n";

/// A workflow goes from one node to another with what it calls, signed as a whole, and each component by who made it.
#[test]
fn a_workflow_goes_with_what_it_calls() {
    let [from, to, work] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let (at, registry) = (work.path(), Registry::start(work.path(), &Door::Open));
    let named = registry.named("acme/greet:1.0.0");
    done(at, &["plugin", "keygen", "our.key"]);
    done(at, &["plugin", "keygen", "other.key"]);
    let key = std::fs::read_to_string(at.join("our.pub")).unwrap().lines().last().unwrap().to_owned();
    std::fs::write(at.join("greet.yaml"), GREET).unwrap();
    let server = Server::start(from.path(), &[]);
    let push = |more: &[&str]| {
        typed(at, &[&["workflow", "push", "greet.yaml", &named, "--server", &server.url], more].concat())
    };
    let (code, text) = push(&[]);
    assert!(code == Some(1) && text.contains("the node has nothing for `tool:echo@^0.1`"), "{text}");
    for name in ["echo", "identity"] {
        std::fs::write(at.join(format!("{name}.wasm")), plugin(name)).unwrap();
        done(at, &["plugin", "sign", &format!("{name}.wasm"), "--key", "our.key"]);
        done(at, &["plugin", "push", &format!("{name}.wasm"), "--server", &server.url]);
    }
    // Whoever takes a component from a node has its signature.
    done(at, &["plugin", "pull", "echo", "-o", "again.wasm", "--server", &server.url]);
    done(at, &["plugin", "verify", "again.wasm", "--key", "our.pub"]);
    let (code, text) = push(&["--key", "our.key"]);
    assert!(
        code == Some(0) && text.contains("acme/greet@sha256:") && text.contains("with tool:echo@0.1.0"),
        "{text}"
    );
    // Into a node that wants signatures; by another key it goes nowhere.
    std::fs::write(to.path().join("heddle.toml"), format!("[signatures]\nkeys = [\"{key}\"]\n")).unwrap();
    let other = Server::start(to.path(), &[]);
    let pull =
        |more: &[&str]| typed(at, &[&["workflow", "pull", &named, "--server", &other.url], more].concat());
    let (code, text) = pull(&["--key", "other.pub"]);
    assert!(code == Some(1) && text.contains("is not signed by"), "{text}");
    assert_eq!(other.get("/v1/plugins").body["items"], json!([]));
    let (code, text) = pull(&["--key", "our.pub"]);
    assert!(code == Some(0) && text.contains("acme/greet@1.0.0"), "{text}");
    let run = other.post("/v1/runs", &json!({ "workflow": "acme/greet", "input": { "name": "Ada" } }));
    assert_eq!(other.ended(run.body["id"].as_str().unwrap())["status"], "succeeded");
    // Into a folder, from which it runs by itself.
    let (code, text) = typed(at, &["workflow", "pull", &named, "-o", "taken"]);
    assert!(code == Some(0) && text.contains("nobody has looked who signed it"), "{text}");
    assert_eq!(
        std::fs::read_to_string(at.join("taken/workflow.yaml")).unwrap(),
        GREET,
        "as its author wrote it"
    );
    done(at, &["plugin", "verify", "taken/plugins/tool-echo-0.1.0.wasm", "--key", "our.pub"]);
    done(
        at,
        &["run", "taken/workflow.yaml", "--plugins", "taken/plugins", "--arg", "name=Ada", "--ephemeral"],
    );
    // What is no workflow, and a workflow where a component is wanted.
    let (code, text) = typed(at, &["plugin", "pull", &named]);
    assert!(code == Some(1) && text.contains("not the artifact of a component"), "{text}");
    done(at, &["plugin", "push", "echo.wasm", "--to", &registry.named("acme/echo:1")]);
    let (code, text) = typed(at, &["workflow", "pull", &registry.named("acme/echo:1")]);
    assert!(code == Some(1) && text.contains("not the artifact of a workflow"), "{text}");
}
