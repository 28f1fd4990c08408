//! Layers, origins, and what is said about faults.

use heddle_server::config::webhooks::SecretSource;
use heddle_server::config::{Config, Layers, LogFormat, Origin, example};
use std::path::PathBuf;

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("heddle.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn layers(path: PathBuf, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Layers {
    Layers {
        file: Some(path),
        env: env.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        flags: flags.iter().map(|(k, v)| ((*k).to_owned(), format!("--{k}"), (*v).to_owned())).collect(),
    }
}

#[test]
fn a_later_layer_wins_and_each_value_says_where_it_is_from() {
    let (folder, path) = file(
        "listen = \"127.0.0.1:1\"\ndata = \"here\"\n\n[telemetry]\nformat = \"json\"\n\n[limits]\nfuel = 1_000\nmemory_bytes = \"64MiB\"\nstep_wall_ms = \"30s\"\n",
    );
    let env = [
        ("HEDDLE_LISTEN", "127.0.0.1:2"),
        ("HEDDLE_LIMITS_FUEL", "2000"),
        ("HEDDLE_SERVER", "http://x"),
        ("HEDDLE_TEST_X", "1"),
        ("PATH", "/bin"),
    ];
    let config = Config::load(&layers(path.clone(), &env, &[("limits.fuel", "3000")])).unwrap();
    assert_eq!(config.listen.port(), 2);
    assert_eq!(config.data, folder.path().join("here"), "a path in a file is meant from the file's folder");
    assert_eq!(config.telemetry.format, LogFormat::Json);
    assert_eq!(
        (config.limits.fuel, config.limits.memory_bytes, config.limits.step_wall_ms),
        (3000, 64 << 20, 30_000)
    );
    let origin = |key: &str| config.shown.iter().find(|s| s.key == key).unwrap().origin.clone();
    assert_eq!(origin("listen"), Origin::Env("HEDDLE_LISTEN".into()));
    assert_eq!(origin("limits.fuel"), Origin::Flag("--limits.fuel".into()));
    assert_eq!(origin("limits.memory_bytes"), Origin::File { path, line: 9 });
    assert_eq!(origin("node"), Origin::Default);
}

#[test]
fn every_fault_comes_at_once_with_its_place_and_the_nearest_name() {
    let (_folder, path) = file(
        "lisen = \"x\"\nlisten = \"nowhere\"\nlimits = 3\n[telemetry]\nformt = \"json\"\nformat = \"xml\"\nfiles = true\n[worker]\nat_once = 3\n",
    );
    let env = [
        ("HEDDLE_LIMIT_FUEL", "1"),
        ("HEDDLE_LIMITS_FUEL", "0"),
        ("HEDDLE_LIMITS_CPU_MS", "999h"),
        ("HEDDLE_LIMITS_INPUT_BYTES", "many"),
    ];
    let faults = Config::load(&layers(path.clone(), &env, &[("limits.fule", "1")])).unwrap_err();
    let text = faults.to_string();
    let place = path.display();
    for expected in [
        format!("{place}:1: no setting is called `lisen`; did you mean `listen`?"),
        format!("{place}:2: `listen` is an address"),
        format!("{place}:3: `limits` is a section"),
        format!("{place}:5: no setting is called `telemetry.formt`; did you mean `telemetry.format`?"),
        format!("{place}:6: `telemetry.format` is `text` or `json`, not `xml`"),
        format!("{place}:7: `telemetry.files` is a whole number from 1, not `true`"),
        format!("{place}:8: no setting is called `worker`"),
        "HEDDLE_LIMIT_FUEL: no setting has this variable; did you mean `HEDDLE_LIMITS_FUEL`?".into(),
        "HEDDLE_LIMITS_FUEL: `limits.fuel` is 0".into(),
        "HEDDLE_LIMITS_CPU_MS: `limits.cpu_ms` is".into(),
        "HEDDLE_LIMITS_INPUT_BYTES: `limits.input_bytes` is a size".into(),
        "--limits.fule: no setting is called `limits.fule`; did you mean `limits.fuel`?".into(),
    ] {
        assert!(text.contains(&expected), "{expected}\nin\n{text}");
    }
}

#[test]
fn a_file_that_is_named_must_be_there_and_be_toml() {
    let missing =
        Config::load(&layers(PathBuf::from("/nowhere/heddle.toml"), &[], &[])).unwrap_err().to_string();
    assert!(missing.starts_with("/nowhere/heddle.toml: the file cannot be read"), "{missing}");
    let (_folder, path) = file("listen = \n[limits\n");
    let broken = Config::load(&layers(path, &[], &[])).unwrap_err().to_string();
    assert!(broken.contains("heddle.toml:1: not TOML"), "{broken}");
}

#[test]
fn a_setting_is_said_once_by_flags() {
    let (_folder, path) = file("");
    let text = Config::load(&layers(path, &[], &[("node", "a"), ("node", "b")])).unwrap_err().to_string();
    assert!(text.contains("`node` is said already by `--node`"), "{text}");
}

#[test]
fn settings_that_bound_each_other_are_held_together() {
    let (_folder, path) = file("[workers]\nat_once = 500\n[limits]\noutput_bytes = \"32MiB\"\n");
    let text = Config::load(&layers(path, &[], &[])).unwrap_err().to_string();
    assert!(text.contains("`workers.at_once` is 500, and `limits.attempts_at_once` is 64"), "{text}");
    assert!(text.contains("must exceed `limits.output_bytes`"), "{text}");
}

#[test]
fn webhooks_have_names_that_the_operator_chooses() {
    let (folder, path) = file(
        "[egress]\nallow_private = [\"10.0.0.0/8\", \"::1\"]\n[webhooks.ops]\nurl = \"https://a.example/x\"\nevents = [\"run.*\", \"help.requested\"]\nsecret = \"hook-key\"\n[webhook_secrets]\nhook-key = \"file:hook.txt\"\nother = \"env:OTHER\"\n",
    );
    let config = Config::load(&layers(path, &[], &[])).unwrap();
    assert_eq!(config.egress.open.len(), 2);
    assert_eq!((config.webhooks.len(), &*config.webhooks[0].name), (1, "ops"));
    assert!(config.webhooks[0].events.wants("run.failed"));
    let source = &config.webhook_secrets["hook-key"];
    assert_eq!(*source, SecretSource::File(folder.path().join("hook.txt")));
    assert!(source.read().unwrap_err().to_string().contains("cannot be read"));
    std::fs::write(folder.path().join("hook.txt"), "hunter2").unwrap();
    let wrong = source.read().unwrap_err().to_string();
    assert!(wrong.contains("24 to 64 random bytes") && !wrong.contains("hunter2"), "{wrong}");
    let two = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\nMfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx\n";
    std::fs::write(folder.path().join("hook.txt"), two).unwrap();
    assert_eq!(source.read().unwrap().len(), 2);
    assert!(config.shown.iter().any(|shown| shown.value == "file:hook.txt"));

    let (_folder, path) = file(
        "egress.allow_private = \"10.0.0.0/99\"\n[webhooks.ops]\nurl = \"ftp://a.example/\"\nevnts = \"run.*\"\nevents = \"run.fialed\"\nsecret = \"hook-kye\"\n[webhooks.two]\nurl = \"https://a.example/\"\n[webhook_secrets]\nhook-key = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\nok = \"env:OK\"\n",
    );
    let text = Config::load(&layers(path, &[], &[])).unwrap_err().to_string();
    for expected in [
        "`egress.allow_private`: `10.0.0.0/99` is no range",
        "`webhooks.ops.url`: webhooks go by `https`",
        "no setting is called `webhooks.ops.evnts`; did you mean `webhooks.ops.events`?",
        "`webhooks.ops.events`: no event is called `run.fialed`; did you mean `run.failed`?",
        "`webhooks.ops.secret` is `hook-kye`, and `[webhook_secrets]` has no secret of this name",
        "`webhooks.two.events` is missing",
        "`webhook_secrets.hook-key` says where the secret is",
    ] {
        assert!(text.contains(expected), "{expected}\nin\n{text}");
    }
    assert!(!text.contains("MfKQ9r8G"), "a secret is said again: {text}");
}

#[test]
fn the_example_says_the_defaults() {
    let uncommented: String = example::text()
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting)
                if setting.split(" = ").next().is_some_and(|name| !name.contains(' '))
                    && setting.contains(" = ") =>
            {
                format!("{setting}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let (_folder, path) = file(&uncommented);
    let said = Config::load(&layers(path, &[], &[])).unwrap();
    let (_other, empty) = file("");
    let default = Config::load(&layers(empty, &[], &[])).unwrap();
    assert_eq!(said.limits, default.limits);
    assert_eq!(said.telemetry, default.telemetry);
    for (said, default) in said.shown.iter().zip(&default.shown) {
        assert_eq!((&said.key, &said.value), (&default.key, &default.value));
        assert!(matches!(said.origin, Origin::File { .. }), "{} is not in the example", said.key);
    }
}
