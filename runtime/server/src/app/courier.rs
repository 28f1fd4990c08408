//! Takes messages to webhooks: one request on a connection of its own, of which nothing is read but the status and
//! `Retry-After`. A redirect is an answer like any other, and followed by nobody.

use crate::egress::{Dialer, NoWay};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use heddle_core::outcome::FailureKind;
use heddle_core::webhook::retry::Answer;
use heddle_executor::{Courier, Post};
use http_body_util::Full;
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, RETRY_AFTER, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use url::{Position, Url};

/// Takes messages over the web.
#[derive(Debug)]
pub(super) struct Web(pub(super) Dialer);

impl Courier for Web {
    fn post(&self, post: Post) -> BoxFuture<'static, Answer> {
        let dialer = self.0.clone();
        Box::pin(async move {
            let timeout = post.timeout;
            match tokio::time::timeout(timeout, send(&dialer, post)).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(NoWay { kind, message })) => Answer::Failed { kind, message },
                Err(_) => {
                    let message =
                        format!("no answer within {} ms (`limits.webhook_ms`)", timeout.as_millis());
                    Answer::Failed { kind: FailureKind::EgressTimeout, message }
                }
            }
        })
    }
}

async fn send(dialer: &Dialer, post: Post) -> Result<Answer, NoWay> {
    let url = Url::parse(&post.url).map_err(|error| NoWay::failed(format!("`{}`: {error}", post.url)))?;
    let (Some(host), Some(port)) = (url.host().map(|host| host.to_owned()), url.port_or_known_default())
    else {
        return Err(NoWay::failed(format!("`{}` names no host", post.url)));
    };
    let stream = dialer.dial(&host, port).await?;
    match url.scheme() {
        "https" => exchange(dialer.encrypt(&host, stream).await?, &url, post).await,
        _ => exchange(stream, &url, post).await,
    }
}

async fn exchange<S>(stream: S, url: &Url, post: Post) -> Result<Answer, NoWay>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| NoWay::failed(format!("the connection broke: {error}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // It ends with this function, whatever else the other side has to say.
    let mut driven = JoinSet::new();
    driven.spawn(connection);
    let mut request = Request::post(&url[Position::BeforePath..Position::AfterQuery])
        .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(CONNECTION, "close")
        .header(USER_AGENT, concat!("heddle/", env!("CARGO_PKG_VERSION")));
    for (name, value) in &post.headers {
        request = request.header(*name, value);
    }
    let body = Full::new(Bytes::copy_from_slice(post.body.text().as_bytes()));
    let request = request.body(body).map_err(|error| NoWay::failed(format!("no request: {error}")))?;
    let answer = sender.send_request(request).await.map_err(broken)?;
    let retry_after =
        answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok(Answer::Status { status: answer.status().as_u16(), retry_after })
}
