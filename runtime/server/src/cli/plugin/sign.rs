//! Keys, signatures and their checking, in the format of minisign. Nothing here needs a node.

use super::super::exit::{Exit, Fault};
use super::super::{Context, out};
use crate::app::folder::signature_beside;
use crate::signature::{EXTENSION, id_of, public_key, verify as is_signed};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign::{KeyPair, PublicKey, SecretKey, SecretKeyBox};
use serde_json::json;
use std::fs::OpenOptions;
use std::io::{Cursor, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The variable with the password of a secret key that has one.
const PASSWORD: &str = "HEDDLE_KEY_PASSWORD";

fn unwritable(path: &Path, error: &std::io::Error) -> Fault {
    Fault::usage(format!("`{}` cannot be written: {error}", path.display()))
}

/// Writes a file that only its owner reads, and none over another.
fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), Fault> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| unwritable(path, &error))
}

pub(super) fn keygen(path: &Path, context: &Context) -> Result<Exit, Fault> {
    let password = std::env::var(PASSWORD).ok().filter(|password| !password.is_empty());
    let is_open = password.is_none();
    let made = match password {
        Some(_) => KeyPair::generate_encrypted_keypair(password),
        None => KeyPair::generate_unencrypted_keypair(),
    };
    let failed = |fault: minisign::PError| Fault::failed(format!("the keys cannot be made: {fault}"));
    let pair = made.map_err(failed)?;
    let (secret, public) = (pair.sk.to_box(None).map_err(failed)?, pair.pk.to_box().map_err(failed)?);
    let beside = path.with_extension("pub");
    write_new(path, &secret.to_string(), 0o600)?;
    write_new(&beside, &public.to_string(), 0o644)?;
    let line = pair.pk.to_base64();
    if context.json {
        out::json(&json!({ "secretKey": path, "publicKey": beside, "id": id_of(&pair.pk), "key": line }));
        return Ok(Exit::Ok);
    }
    out::line(&format!("{}  the secret key: keep it", path.display()));
    out::line(&format!("{}  the public key: give it away", beside.display()));
    out::line(&format!("to be trusted in heddle.toml:\n[signatures]\nkeys = [\"{line}\"]"));
    if is_open {
        out::note(&format!("the secret key has no password; set {PASSWORD} for one"));
    }
    Ok(Exit::Ok)
}

pub(in crate::cli) fn secret_key(path: &Path) -> Result<SecretKey, Fault> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Fault::usage(format!("the key `{shown}` cannot be read: {error}")))?;
    let no_key = |why: String| {
        Fault::usage(format!("`{shown}` is no secret key: {why}"))
            .with_hint("`heddle plugin keygen FILE` makes one, and so does `minisign -G`")
    };
    // Some versions of minisign leave the checksum of a key without a password empty, so such a key is read as it is.
    let line = text.lines().nth(1).map(|line| STANDARD.decode(line.trim()));
    let bytes = line.and_then(Result::ok).ok_or_else(|| no_key("its second line is no base64".to_owned()))?;
    let read = SecretKey::from_bytes(&bytes).map_err(|fault| no_key(fault.to_string()))?;
    if !read.is_encrypted() {
        return Ok(read);
    }
    let Some(password) = std::env::var(PASSWORD).ok() else {
        return Err(
            Fault::usage(format!("the key `{shown}` has a password")).with_hint(format!("set {PASSWORD}"))
        );
    };
    let boxed = SecretKeyBox::from_string(&text).map_err(|fault| no_key(fault.to_string()))?;
    boxed.into_secret_key(Some(password)).map_err(|fault| no_key(fault.to_string()))
}

pub(super) fn sign(files: &[PathBuf], key: &Path, context: &Context) -> Result<Exit, Fault> {
    let key = secret_key(key)?;
    let mut made = Vec::new();
    for file in files {
        let bytes = std::fs::read(file)
            .map_err(|error| Fault::usage(format!("`{}` cannot be read: {error}", file.display())))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let signature = minisign::sign(None, &key, Cursor::new(&bytes), Some(&format!("file:{name}")), None)
            .map_err(|fault| Fault::failed(format!("`{}` cannot be signed: {fault}", file.display())))?;
        let beside = PathBuf::from(format!("{}.{EXTENSION}", file.display()));
        std::fs::write(&beside, signature.into_string()).map_err(|error| unwritable(&beside, &error))?;
        if !context.json {
            out::line(&beside.display().to_string());
        }
        made.push(beside);
    }
    if context.json {
        out::json(&json!({ "signatures": made }));
    }
    Ok(Exit::Ok)
}

/// A public key, from its file or from its line.
pub(in crate::cli) fn public(said: &str) -> Result<PublicKey, Fault> {
    let text = match Path::new(said).is_file() {
        true => std::fs::read_to_string(said)
            .map_err(|error| Fault::usage(format!("the key `{said}` cannot be read: {error}")))?,
        false => said.to_owned(),
    };
    public_key(&text).map_err(|fault| {
        Fault::usage(format!("`{said}` is no public key: {fault}"))
            .with_hint("give a `.pub` file, or the line that begins with `RW`")
    })
}

pub(super) fn verify(file: &Path, key: &str, context: &Context) -> Result<Exit, Fault> {
    let key = public(key)?;
    let bytes = std::fs::read(file)
        .map_err(|error| Fault::usage(format!("`{}` cannot be read: {error}", file.display())))?;
    let shown = file.display();
    let Some(signature) = signature_beside(file) else {
        return Err(Fault::failed(format!("there is no `{shown}.{EXTENSION}`"))
            .with_code("signature_required")
            .with_hint(format!("`heddle plugin sign {shown} --key KEY` makes it")));
    };
    is_signed(&key, &bytes, &signature).map_err(|why| {
        Fault::failed(format!("the signature of `{shown}` is not good: {why}")).with_code("signature_invalid")
    })?;
    match context.json {
        true => out::json(&json!({ "file": file, "signedBy": id_of(&key) })),
        false => out::line(&format!("{shown} is signed by {}", id_of(&key))),
    }
    Ok(Exit::Ok)
}
