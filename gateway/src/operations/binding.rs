//! Binds a target to the bus that has its name when it is granted, so that a bus which is deleted and
//! created again is not addressed by old grants (Belay §23.4).
//!
//! Grants of releases that bound nothing go on by name. Never here: what is done with the bus.

use buswire_belay::{BcapError, BcapValue, BindError, GENERATION, TargetError};
use buswire_bus::{BusError, Buses};
use buswire_message::BusName;
use futures::future::BoxFuture;

/// The bus that a target names, and which of that name.
struct Bound {
    bus: BusName,
    generation: Option<u64>,
}

impl Bound {
    fn read(target: &BcapValue) -> Option<Self> {
        let members = target.as_object()?;
        let generation = members.get(GENERATION).and_then(BcapValue::as_u64);
        Some(Self { bus: members.get("bus")?.as_str()?.parse().ok()?, generation })
    }
}

/// Adds which bus the name means now.
pub(super) fn bind(
    buses: &Buses,
    mut target: BcapValue,
) -> BoxFuture<'_, Result<BcapValue, BindError>> {
    Box::pin(async move {
        let Bound { bus, generation } = Bound::read(&target).ok_or(TargetError::Missing("bus"))?;
        let created = buses.created_at(&bus).await.map_err(|error| match error {
            BusError::Store(error) => BindError::Store(error),
            _ => TargetError::Absent("bus").into(),
        })?;
        let current = created.ok_or(TargetError::Absent("bus"))?.as_millis();
        if generation.is_some_and(|asked| asked != current) {
            return Err(TargetError::BadMember(GENERATION).into());
        }
        if let BcapValue::Object(members) = &mut target {
            members.set(GENERATION, current);
        }
        Ok(target)
    })
}

/// Whether the bus that was bound is still there.
pub(super) fn is_bound<'a>(
    buses: &'a Buses,
    target: &'a BcapValue,
) -> BoxFuture<'a, Result<bool, BcapError>> {
    Box::pin(async move {
        let Bound { bus, generation } = Bound::read(target).ok_or(BcapError::Internal)?;
        let Some(generation) = generation else { return Ok(true) };
        let created = buses.created_at(&bus).await.map_err(|_| BcapError::unavailable())?;
        Ok(created.is_some_and(|created| created.as_millis() == generation))
    })
}
