//! `MessageService`.

use std::sync::Arc;

use buswire_bus::{BusError, ReadPage, StoredMessage};
use buswire_message::{Cursor, TraceParent, TraceState};
use buswire_proto::v1::{self, message_service_server::MessageService};
use futures::StreamExt as _;
use tonic::{Request, Response, Status, metadata::MetadataValue};

use super::Api;
use crate::admin::{
    convert::{self, messages::cursor_to_wire},
    deadline::Deadline,
    status,
    stream::{Answers, until_end},
};

/// Cuts a page where it holds `bytes` of payload; it keeps one message at least.
fn cut(page: &ReadPage, bytes: usize) -> v1::ReadResponse {
    let mut total = 0_usize;
    let fits = |message: &&Arc<StoredMessage>| {
        let first = total == 0;
        total = total.saturating_add(message.payload.len());
        first || total <= bytes
    };
    let kept: Vec<_> = page.messages.iter().take_while(fits).collect();
    let has_rest = kept.len() < page.messages.len();
    let next = match kept.last() {
        Some(last) if has_rest => Cursor::After(last.id.sequence()),
        Some(_) | None => page.next,
    };
    v1::ReadResponse {
        messages: kept.iter().map(|message| convert::messages::to_wire(message)).collect(),
        next: cursor_to_wire(next),
        more: page.more || has_rest,
    }
}

fn streamed(item: Result<Arc<StoredMessage>, BusError>) -> Result<v1::SubscribeResponse, Status> {
    let message = item.map_err(|e| status::of_bus(&e))?;
    Ok(v1::SubscribeResponse { message: Some(convert::messages::to_wire(&message)) })
}

#[tonic::async_trait]
impl MessageService for Api {
    type SubscribeStream = Answers<v1::SubscribeResponse>;

    async fn publish(
        &self,
        request: Request<v1::PublishRequest>,
    ) -> Result<Response<v1::PublishResponse>, Status> {
        let state = &self.0.state;
        let sent = |name| request.metadata().get_all(name).iter().map(MetadataValue::as_bytes);
        let traceparent =
            TraceParent::received(sent(TraceParent::HEADER), sent(TraceState::HEADER));
        let (bus, mut message) =
            convert::messages::new_message(request.into_inner(), &state.source)?;
        // What the request itself says goes before what a library added to the call.
        message.headers.traceparent = message.headers.traceparent.or(traceparent);
        let id = state.buses.publish(&bus, message).await.map_err(|e| status::of_publish(&e))?;
        Ok(Response::new(v1::PublishResponse { id: id.to_string() }))
    }

    async fn read(
        &self,
        request: Request<v1::ReadRequest>,
    ) -> Result<Response<v1::ReadResponse>, Status> {
        let state = &self.0.state;
        let (scope, since) = convert::messages::page(request.get_ref())?;
        let limit = convert::page(request.get_ref().page_size, String::new()).limit;
        let page = state.buses.read(&scope, since, limit).await.map_err(|e| status::of_bus(&e))?;
        Ok(Response::new(cut(&page, state.limits.page_bytes)))
    }

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let state = &self.0.state;
        let time = request.extensions().get().map(|Deadline(time)| *time);
        let (scope, since) = convert::messages::stream(request.get_ref(), &*state.clock)?;
        if scope.buses().next().is_none() {
            return Err(status::of_bus(&BusError::NoBus));
        }
        let permit = self.0.stream_permit()?;
        let items = state.buses.subscribe(scope, since).map(streamed);
        Ok(Response::new(until_end(items, time, state.shutdown.clone(), permit)))
    }
}
