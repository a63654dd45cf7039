//! Enumerations whose members are counted and named: reasons, kinds of messages.

/// An enumeration that knows its members.
pub trait ClosedSet: Copy + 'static {
    /// Every member, in the order of [`Self::index`].
    const MEMBERS: &'static [Self];

    /// Returns the place of the member among all, from zero.
    fn index(self) -> usize;

    /// Returns the member's name in metrics and logs.
    fn name(self) -> &'static str;
}

/// Defines an enumeration as a [`ClosedSet`].
macro_rules! closed_set {
    (
        $(#[$about:meta])*
        pub enum $set:ident {
            $($(#[$doc:meta])* $member:ident = $name:literal,)+
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $set {
            $($(#[$doc])* $member,)+
        }

        impl $crate::ClosedSet for $set {
            const MEMBERS: &'static [Self] = &[$(Self::$member),+];

            fn index(self) -> usize {
                self as usize
            }

            fn name(self) -> &'static str {
                match self {
                    $(Self::$member => $name,)+
                }
            }
        }
    };
}

pub(crate) use closed_set;
