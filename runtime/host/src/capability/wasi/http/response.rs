//! Answers, and their bodies.

use super::fields::Fields;
use super::kinds::ErrorCode;
use super::request::Exchange;
use crate::capability::held::Hold;
use crate::capability::http::arrived;
use crate::capability::wasi::io::{InputStream, Pollable, StreamFault, settled, source};
use crate::guest::{Cx, Guest, enter};
use crate::host_calls::LogLevel;
use heddle_core::outside::{HttpFault, HttpResponse};
use wasmtime::component::{LinkerInstance, Resource, ResourceType};

/// An answer that is on its way.
#[derive(Debug)]
pub(super) struct FutureResponse(pub(super) Exchange);

/// An answer.
#[derive(Debug)]
struct IncomingResponse {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    /// Until it is taken.
    body: Option<Body>,
}

/// What an answer carries, and what that takes.
#[derive(Debug, Default)]
struct Body {
    bytes: Vec<u8>,
    hold: Option<Hold>,
}

/// The body, until the guest has its stream.
#[derive(Debug)]
struct IncomingBody(Option<Body>);

/// What follows a body: nothing.
#[derive(Debug)]
struct FutureTrailers {
    is_taken: bool,
}

/// The first time an answer is asked for, it is given; then never again.
type Once<T> = Option<Result<Result<T, ErrorCode>, ()>>;

pub(super) fn link(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    types.func_wrap("http-error-code", |mut cx: Cx<'_>, (_,): (Resource<StreamFault>,)| {
        enter(&mut cx, 0)?;
        Ok((None::<ErrorCode>,))
    })?;
    futures(types)?;
    responses(types)?;
    bodies(types)
}

fn futures(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    types.resource("future-incoming-response", ResourceType::host::<FutureResponse>(), |mut cx, rep| {
        cx.data_mut().table.delete(Resource::<FutureResponse>::new_own(rep))?;
        Ok(())
    })?;
    types.func_wrap(
        "[method]future-incoming-response.subscribe",
        |mut cx: Cx<'_>, (future,): (Resource<FutureResponse>,)| {
            enter(&mut cx, 0)?;
            let exchange = cx.data().table.get(&future)?.0.clone();
            Ok((cx.data_mut().push(Pollable::Answer(exchange))?,))
        },
    )?;
    types.func_wrap_async(
        "[method]future-incoming-response.get",
        |mut cx: Cx<'_>, (future,): (Resource<FutureResponse>,)| {
            Box::new(async move {
                enter(&mut cx, 0)?;
                let exchange = cx.data().table.get(&future)?.0.clone();
                let exchange = settled(&mut cx, exchange).await;
                if !exchange.is_answered() {
                    return Ok((Once::None,));
                }
                let Some(running) = exchange.take() else { return Ok((Once::Some(Err(())),)) };
                let arrived = arrived(&mut cx, running).await?;
                Ok((Once::Some(Ok(given(&mut cx, arrived)?)),))
            })
        },
    )
}

/// An answer, as the guest gets it.
fn given(
    cx: &mut Cx<'_>,
    (answer, hold): (Result<HttpResponse, HttpFault>, Option<Hold>),
) -> wasmtime::Result<Result<Resource<IncomingResponse>, ErrorCode>> {
    let guest = cx.data_mut();
    let HttpResponse { status, headers, body } = match answer {
        Ok(answer) => answer,
        Err(fault) => {
            guest.write_log(LogLevel::Warn, &format!("a request was not answered: {}", fault.message));
            return Ok(Err(ErrorCode::of(&fault)));
        }
    };
    let headers = headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect();
    let body = Some(Body { bytes: body, hold });
    Ok(Ok(guest.push(IncomingResponse { status, headers, body })?))
}

fn responses(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    types.resource("incoming-response", ResourceType::host::<IncomingResponse>(), |mut cx, rep| {
        cx.data_mut().table.delete(Resource::<IncomingResponse>::new_own(rep))?;
        Ok(())
    })?;
    types.func_wrap(
        "[method]incoming-response.status",
        |mut cx: Cx<'_>, (response,): (Resource<IncomingResponse>,)| {
            enter(&mut cx, 0)?;
            Ok((cx.data().table.get(&response)?.status,))
        },
    )?;
    types.func_wrap(
        "[method]incoming-response.headers",
        |mut cx: Cx<'_>, (response,): (Resource<IncomingResponse>,)| {
            enter(&mut cx, 0)?;
            let headers = cx.data().table.get(&response)?.headers.clone();
            Ok((Fields::hold(cx.data_mut(), headers, true)?,))
        },
    )?;
    types.func_wrap(
        "[method]incoming-response.consume",
        |mut cx: Cx<'_>, (response,): (Resource<IncomingResponse>,)| {
            enter(&mut cx, 0)?;
            let Some(body) = cx.data_mut().table.get_mut(&response)?.body.take() else {
                return Ok((Err(()),));
            };
            Ok((Ok(cx.data_mut().push(IncomingBody(Some(body)))?),))
        },
    )
}

fn bodies(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    types.resource("incoming-body", ResourceType::host::<IncomingBody>(), |mut cx, rep| {
        cx.data_mut().table.delete(Resource::<IncomingBody>::new_own(rep))?;
        Ok(())
    })?;
    types.func_wrap(
        "[method]incoming-body.stream",
        |mut cx: Cx<'_>, (body,): (Resource<IncomingBody>,)| {
            enter(&mut cx, 0)?;
            let Some(Body { bytes, hold }) = cx.data_mut().table.get_mut(&body)?.0.take() else {
                return Ok((Err(()),));
            };
            Ok((Ok::<Resource<InputStream>, ()>(source(cx.data_mut(), bytes, hold)?),))
        },
    )?;
    types.func_wrap(
        "[static]incoming-body.finish",
        |mut cx: Cx<'_>, (body,): (Resource<IncomingBody>,)| {
            enter(&mut cx, 0)?;
            cx.data_mut().table.delete(body)?;
            Ok((cx.data_mut().push(FutureTrailers { is_taken: false })?,))
        },
    )?;
    types.resource("future-trailers", ResourceType::host::<FutureTrailers>(), |mut cx, rep| {
        cx.data_mut().table.delete(Resource::<FutureTrailers>::new_own(rep))?;
        Ok(())
    })?;
    types.func_wrap(
        "[method]future-trailers.subscribe",
        |mut cx: Cx<'_>, (_,): (Resource<FutureTrailers>,)| {
            enter(&mut cx, 0)?;
            Ok((cx.data_mut().push(Pollable::Ready)?,))
        },
    )?;
    types.func_wrap(
        "[method]future-trailers.get",
        |mut cx: Cx<'_>, (trailers,): (Resource<FutureTrailers>,)| {
            enter(&mut cx, 0)?;
            let was = std::mem::replace(&mut cx.data_mut().table.get_mut(&trailers)?.is_taken, true);
            let nothing: Once<Option<Resource<Fields>>> = Some(if was { Err(()) } else { Ok(Ok(None)) });
            Ok((nothing,))
        },
    )
}
