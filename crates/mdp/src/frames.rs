//! The body of a request or reply: an ordered list of opaque frames.

use bytes::Bytes;
use smallvec::SmallVec;

/// The body frames of one message, whose count, order and boundaries are kept exactly.
///
/// Up to two frames are held without an allocation of the list; cloning shares the bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Frames(SmallVec<[Bytes; 2]>);

impl Frames {
    /// Creates a body of no frames, which MDP as Backbone speaks it allows (mdp.md §4.1).
    pub fn new() -> Self {
        Self(SmallVec::new())
    }

    /// Adds a frame at the end.
    pub fn push(&mut self, frame: impl Into<Bytes>) {
        self.0.push(frame.into());
    }

    /// Returns the number of frames.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Says whether there is no frame at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the sum of the frames' lengths in bytes.
    pub fn byte_len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// Returns the frame at `index`, counted from zero.
    pub fn get(&self, index: usize) -> Option<&Bytes> {
        self.0.get(index)
    }

    /// Returns the frame when there is exactly one: Backbone's short-reply rule (mdp.md §9.6).
    pub fn single(&self) -> Option<&Bytes> {
        match self.0.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Iterates over the frames in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Bytes> {
        self.0.iter()
    }
}

impl<T: Into<Bytes>> FromIterator<T> for Frames {
    fn from_iter<I: IntoIterator<Item = T>>(frames: I) -> Self {
        Self(frames.into_iter().map(Into::into).collect())
    }
}

impl From<Bytes> for Frames {
    fn from(frame: Bytes) -> Self {
        Self(SmallVec::from_iter([frame]))
    }
}

impl From<String> for Frames {
    fn from(frame: String) -> Self {
        Bytes::from(frame).into()
    }
}

impl From<&'static str> for Frames {
    fn from(frame: &'static str) -> Self {
        Bytes::from(frame).into()
    }
}

impl<T: Into<Bytes>> From<Vec<T>> for Frames {
    fn from(frames: Vec<T>) -> Self {
        frames.into_iter().collect()
    }
}

impl<T: Into<Bytes>, const N: usize> From<[T; N]> for Frames {
    fn from(frames: [T; N]) -> Self {
        frames.into_iter().collect()
    }
}

impl Extend<Bytes> for Frames {
    fn extend<I: IntoIterator<Item = Bytes>>(&mut self, frames: I) {
        self.0.extend(frames);
    }
}

impl IntoIterator for Frames {
    type Item = Bytes;
    type IntoIter = smallvec::IntoIter<[Bytes; 2]>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Frames {
    type Item = &'a Bytes;
    type IntoIter = std::slice::Iter<'a, Bytes>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
