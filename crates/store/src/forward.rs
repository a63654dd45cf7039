//! What a store around another one does not change.
//!
//! Never here: what such a store does change.

/// Writes the methods of [`Store`](crate::Store) that go to a field as they are: within an
/// `impl Store`, the field and the names of the methods.
///
/// ```text
/// buswire_store::forward!(inner: scan read_log grown hints sweep status close);
/// ```
#[macro_export]
macro_rules! forward {
    ($field:tt: $($method:ident)+) => {
        $($crate::forward!(@$method $field);)+
    };
    (@commit $field:tt) => {
        fn commit(
            &self,
            batch: $crate::Batch,
            ack: $crate::Ack,
            now: $crate::__message::Timestamp,
        ) -> $crate::BoxFuture<'_, Result<$crate::Outcome, $crate::StoreError>> {
            self.$field.commit(batch, ack, now)
        }
    };
    (@get $field:tt) => {
        fn get<'a>(
            &'a self,
            partition: &'a $crate::Partition,
            key: &'a $crate::Key,
            now: $crate::__message::Timestamp,
        ) -> $crate::BoxFuture<'a, Result<Option<$crate::Row>, $crate::StoreError>> {
            self.$field.get(partition, key, now)
        }
    };
    (@scan $field:tt) => {
        fn scan<'a>(
            &'a self,
            partition: &'a $crate::Partition,
            range: $crate::KeyRange,
            limit: usize,
            direction: $crate::Direction,
            now: $crate::__message::Timestamp,
        ) -> $crate::BoxFuture<'a, Result<$crate::RowPage, $crate::StoreError>> {
            self.$field.scan(partition, range, limit, direction, now)
        }
    };
    (@read_log $field:tt) => {
        fn read_log<'a>(
            &'a self,
            partition: &'a $crate::Partition,
            log: &'a $crate::LogName,
            after: Option<$crate::Position>,
            limit: usize,
            now: $crate::__message::Timestamp,
        ) -> $crate::BoxFuture<'a, Result<$crate::Page, $crate::StoreError>> {
            self.$field.read_log(partition, log, after, limit, now)
        }
    };
    (@grown $field:tt) => {
        fn grown<'a>(
            &'a self,
            log: &'a $crate::LogName,
            places: &'a [($crate::Partition, $crate::Position)],
            through: $crate::__message::Sequence,
        ) -> $crate::BoxFuture<'a, Result<Vec<bool>, $crate::StoreError>> {
            self.$field.grown(log, places, through)
        }
    };
    (@hints $field:tt) => {
        fn hints(&self, filter: $crate::HintFilter) -> $crate::Hints {
            self.$field.hints(filter)
        }
    };
    (@sweep $field:tt) => {
        fn sweep(
            &self,
            now: $crate::__message::Timestamp,
            budget: usize,
        ) -> $crate::BoxFuture<'_, Result<$crate::Swept, $crate::StoreError>> {
            self.$field.sweep(now, budget)
        }
    };
    (@status $field:tt) => {
        fn status(&self) -> $crate::StoreStatus {
            self.$field.status()
        }
    };
    (@close $field:tt) => {
        fn close(&self) -> $crate::BoxFuture<'_, ()> {
            self.$field.close()
        }
    };
}
