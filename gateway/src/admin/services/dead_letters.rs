//! `DeadLetterService`.

use std::sync::Arc;

use buswire_message::MessageId;
use buswire_proto::v1::{self, dead_letter_service_server::DeadLetterService};
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::Api;
use crate::admin::{
    convert,
    ports::{AdminError, DeadLetterAdmin, DeadLetterPage},
    status,
};

/// The most dead letters that one call tries again: each may take as long as an attempt may.
const REPLAYS_MAX: usize = 100;
/// The most dead letters that one call drops.
const DROPS_MAX: usize = 1000;

impl Api {
    fn dead_letters(&self) -> Result<&Arc<dyn DeadLetterAdmin>, Status> {
        self.0.state.ports.dead_letters.as_ref().ok_or_else(|| status::absent("dead letters"))
    }
}

#[tonic::async_trait]
impl DeadLetterService for Api {
    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Result<Response<v1::ListDeadLettersResponse>, Status> {
        let v1::ListDeadLettersRequest { route, page_size, page_token } = request.into_inner();
        let wanted = convert::page(page_size, page_token);
        let after =
            wanted.after.as_deref().map(|id| convert::parse("page_token", id)).transpose()?;
        let letters = self.dead_letters()?.list(&route, after, wanted.limit).await;
        let DeadLetterPage { letters, mut unreadable, more } = letters.map_err(status::of_admin)?;
        let count = letters.len();
        let mut bytes = 0;
        let page: Vec<_> = letters
            .iter()
            .map(convert::routes::letter_to_wire)
            .enumerate()
            .take_while(|(index, letter)| {
                bytes += letter.encoded_len();
                *index == 0 || bytes <= self.0.state.limits.page_bytes
            })
            .map(|(_, letter)| letter)
            .collect();
        let shown = page.len().checked_sub(1).and_then(|last| letters.get(last));
        let mut last = shown.map(|letter| letter.message.id);
        if page.len() < count {
            unreadable.retain(|id| Some(*id) < last);
        }
        last = last.max(unreadable.last().copied());
        let next = last.filter(|_| more || page.len() < count);
        Ok(Response::new(v1::ListDeadLettersResponse {
            dead_letters: page,
            next_page_token: next.map(|id| id.to_string()).unwrap_or_default(),
            unreadable: unreadable.iter().map(ToString::to_string).collect(),
        }))
    }

    async fn get_dead_letter(
        &self,
        request: Request<v1::GetDeadLetterRequest>,
    ) -> Result<Response<v1::GetDeadLetterResponse>, Status> {
        let v1::GetDeadLetterRequest { route, id } = request.into_inner();
        let id: MessageId = convert::parse("id", &id)?;
        let letter = self.dead_letters()?.get(&route, id).await.map_err(status::of_admin)?;
        let dead_letter = Some(convert::routes::letter_to_wire(&letter));
        Ok(Response::new(v1::GetDeadLetterResponse { dead_letter }))
    }

    async fn replay_dead_letters(
        &self,
        request: Request<v1::ReplayDeadLettersRequest>,
    ) -> Result<Response<v1::ReplayDeadLettersResponse>, Status> {
        let v1::ReplayDeadLettersRequest { route, ids } = request.into_inner();
        let port = self.dead_letters()?;
        self.routes()?.get(&route).await.map_err(status::of_admin)?;
        let mut replays = Vec::new();
        for id in convert::routes::ids(&ids, REPLAYS_MAX)? {
            match port.replay(&route, id).await {
                Ok(error) => replays
                    .push(v1::Replay { id: id.to_string(), error: error.unwrap_or_default() }),
                Err(AdminError::NotFound(_)) => {}
                Err(error) => return Err(status::of_admin(error)),
            }
        }
        Ok(Response::new(v1::ReplayDeadLettersResponse { replays }))
    }

    async fn drop_dead_letters(
        &self,
        request: Request<v1::DropDeadLettersRequest>,
    ) -> Result<Response<v1::DropDeadLettersResponse>, Status> {
        let v1::DropDeadLettersRequest { route, ids } = request.into_inner();
        let port = self.dead_letters()?;
        self.routes()?.get(&route).await.map_err(status::of_admin)?;
        let mut dropped = 0;
        for id in convert::routes::ids(&ids, DROPS_MAX)? {
            match port.drop_one(&route, id).await {
                Ok(()) => dropped += 1,
                Err(AdminError::NotFound(_)) => {}
                Err(error) => return Err(status::of_admin(error)),
            }
        }
        Ok(Response::new(v1::DropDeadLettersResponse { dropped }))
    }
}
