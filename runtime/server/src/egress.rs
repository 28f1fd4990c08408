//! The way out: a name is looked up, every address that comes back is judged, and only a judged one is dialled. Nobody
//! else looks anything up in between, so a name that means something else a moment later changes nothing.

use heddle_core::egress::Egress;
use heddle_core::outcome::FailureKind;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, OnceLock};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::Host;

/// Addresses of one name that are tried.
const TRIED: usize = 4;

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoWay {
    /// `egress_denied` or `egress_failed`.
    pub(crate) kind: FailureKind,
    /// One sentence for a person.
    pub(crate) message: String,
}

impl NoWay {
    fn denied(message: String) -> NoWay {
        NoWay { kind: FailureKind::EgressDenied, message }
    }
    pub(crate) fn failed(message: String) -> NoWay {
        NoWay { kind: FailureKind::EgressFailed, message }
    }
}

/// Dials what may be dialled.
#[derive(Clone)]
pub(crate) struct Dialer {
    rules: Arc<Egress>,
    /// Made when it is first needed: reading the certificates of the machine takes a while.
    tls: Arc<OnceLock<Arc<ClientConfig>>>,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Dialer {
    /// A dialer by these rules.
    pub(crate) fn new(rules: Egress) -> Dialer {
        Dialer { rules: Arc::new(rules), tls: Arc::default() }
    }

    /// A connection to a host.
    ///
    /// # Errors
    /// Where no address of it may be dialled, or none answers.
    pub(crate) async fn dial(&self, host: &Host<String>, port: u16) -> Result<TcpStream, NoWay> {
        let addresses = self.admitted(host, port).await?;
        let mut last = None;
        for address in addresses.into_iter().take(TRIED) {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(format!("no connection to {address}: {error}")),
            }
        }
        Err(NoWay::failed(last.unwrap_or_else(|| format!("`{host}` has no address"))))
    }

    /// The addresses of a host that may be dialled, in the order in which they came.
    async fn admitted(&self, host: &Host<String>, port: u16) -> Result<Vec<SocketAddr>, NoWay> {
        let found: Vec<SocketAddr> = match host {
            Host::Ipv4(address) => vec![(*address, port).into()],
            Host::Ipv6(address) => vec![(*address, port).into()],
            Host::Domain(name) => {
                let found = tokio::net::lookup_host((name.as_str(), port)).await;
                found
                    .map_err(|error| NoWay::failed(format!("`{name}` cannot be looked up: {error}")))?
                    .collect()
            }
        };
        let mut refused = Vec::new();
        let mut admitted = Vec::new();
        for address in found {
            match self.judge(address.ip()) {
                Ok(()) => admitted.push(address),
                Err(why) => refused.push(format!("{} ({why})", address.ip())),
            }
        }
        if admitted.is_empty() && !refused.is_empty() {
            refused.dedup();
            return Err(NoWay::denied(format!(
                "`{host}` is {}, which nothing is sent to unless an operator opens it: `egress.allow_private`",
                refused.join(", ")
            )));
        }
        Ok(admitted)
    }

    fn judge(&self, address: IpAddr) -> Result<(), &'static str> {
        self.rules.admits(address).map_err(|class| class.word())?;
        match is_own(address) && !self.rules.opens(address) {
            true => Err("an address of this machine"),
            false => Ok(()),
        }
    }

    /// The same connection, encrypted: the other side must prove that it is this host.
    ///
    /// # Errors
    /// Where it does not.
    pub(crate) async fn encrypt(
        &self,
        host: &Host<String>,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, NoWay> {
        let name = match host {
            Host::Domain(name) => ServerName::try_from(name.clone())
                .map_err(|_| NoWay::failed(format!("`{name}` cannot be the name of a server")))?,
            Host::Ipv4(address) => ServerName::IpAddress(IpAddr::V4(*address).into()),
            Host::Ipv6(address) => ServerName::IpAddress(IpAddr::V6(*address).into()),
        };
        let connected = TlsConnector::from(self.tls()?).connect(name, stream).await;
        connected.map_err(|error| NoWay::failed(format!("no encrypted connection to `{host}`: {error}")))
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, NoWay> {
        if let Some(config) = self.tls.get() {
            return Ok(config.clone());
        }
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if added == 0 {
            let message = "this machine trusts nobody: install its certificates (the package `ca-certificates`), or name a file of them in SSL_CERT_FILE";
            return Err(NoWay::failed(message.into()));
        }
        let made = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| NoWay::failed(format!("no encrypted connections: {error}")))?;
        let config = Arc::new(made.with_root_certificates(roots).with_no_client_auth());
        Ok(self.tls.get_or_init(|| config).clone())
    }
}

/// Whether this machine has the address itself. The kernel is asked which address it would speak from: to one of its own,
/// that is the same. Nothing is sent.
fn is_own(address: IpAddr) -> bool {
    let own = || -> io::Result<bool> {
        let any = match address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((address, 9))?;
        Ok(socket.local_addr()?.ip() == address)
    };
    // Where there is no way to it, it is not its own.
    own().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host<String> {
        Host::parse(text).unwrap()
    }

    #[tokio::test]
    async fn what_is_not_public_is_not_dialled() {
        let dialer = Dialer::new(Egress::default());
        for name in [
            "127.0.0.1",
            "[::1]",
            "localhost",
            "10.0.0.1",
            "169.254.169.254",
            "[::ffff:127.0.0.1]",
            "0.0.0.0",
        ] {
            let refused = dialer.dial(&host(name), 9).await.unwrap_err();
            assert_eq!(refused.kind, FailureKind::EgressDenied, "{name}: {}", refused.message);
        }
        let unknown = dialer.dial(&host("nobody.invalid"), 9).await.unwrap_err();
        assert_eq!(unknown.kind, FailureKind::EgressFailed, "{}", unknown.message);
    }

    #[tokio::test]
    async fn what_an_operator_opened_is() {
        let dialer = Dialer::new(Egress { open: vec!["127.0.0.0/8".parse().unwrap()] });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        dialer.dial(&host("127.0.0.1"), port).await.unwrap();
        // Of the addresses of a name only those that were opened are tried.
        dialer.dial(&host("localhost"), port).await.unwrap();
        drop(listener);
        let closed = dialer.dial(&host("127.0.0.1"), port).await.unwrap_err();
        assert_eq!(closed.kind, FailureKind::EgressFailed);
        assert_eq!(dialer.dial(&host("[::1]"), port).await.unwrap_err().kind, FailureKind::EgressDenied);
    }

    #[test]
    fn a_machine_knows_its_own_addresses() {
        assert!(is_own("127.0.0.1".parse().unwrap()));
        assert!(!is_own("192.0.2.1".parse().unwrap()));
    }
}
