//! All events with their message ids.

use log::Level;

macro_rules! events {
    ($($variant:ident $level:ident $id:literal,)+) => {
        /// An event for people and programs to look for.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Event {
            $($variant,)+
        }

        impl Event {
            /// All events, for the catalog's test.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The event's `MESSAGE_ID`; never changes.
            pub fn message_id(self) -> &'static str {
                match self {
                    $(Self::$variant => $id,)+
                }
            }

            /// The event's name in the events file.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)+
                }
            }

            /// The level it is usually written at. error: a person must act;
            /// warn: someone may want to look; info: one thing done.
            pub fn level(self) -> Level {
                match self {
                    $(Self::$variant => Level::$level,)+
                }
            }

            /// The event with this `MESSAGE_ID`.
            pub fn from_message_id(id: &str) -> Option<Self> {
                match id {
                    $($id => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

events! {
    Started Info "f6fadfa7e5c14b629362da5cc13da58a",
    Stopping Info "2c63888f28f04481be6ddce7a7ace732",
    Stopped Info "8a119b9e16bc47328f7b7676d015b0dc",
    EndedBadly Warn "b6e37fd84f5c4b6189a2c0272eece1b3",
    CriticalTaskEnded Error "bc67ba94637d4efaa09e467ada679f81",
    ConfigurationReloaded Info "fab36728a78b4b7e8787c0de2f960063",
    ConfigurationFaulty Error "a712755f6cac44d599d5269512e74f7b",
    ConfigurationUnknownKey Warn "ac8efe121c5949f1ba2dde83458bfed0",
    ListenerDiffers Warn "5796a670482c490e8d9782bfcdc83011",
    AuthenticationOpen Warn "0b80a25553a14945a93258ef7777682c",
    DataDirectoryUnsuitable Warn "45ac16b9c20d4c218f8a7abff2e91ac7",
    ClonedCard Warn "dd2ee150d2844277b89c1af40ce8fcc9",
    ClockUnsynced Warn "3c3ae353fb14428e90b401a6c1cc0aff",
    ClockSynced Info "b9c8b9ffe46e46279419c7723226db94",
    StoreMigrated Info "2f7db131b5f148caaf2949ded38b6b10",
    StoreRepaired Warn "bbeeb6361d334c6d96f0da847a2a3b87",
    DiskFull Error "68e58909ccb24416925a56c9a30f4300",
    DiskReadOnly Error "6f3d7a51c0de4b2f9a86e4b1d7c2905e",
    DiskRecovered Info "ff53a46f5ead403a84c4b877678537a3",
    DiskFailed Error "19435a7d28b640d78606226baa2def11",
    CoredumpStored Info "e179f773a6e043c09514b7dde2ad0478",
    CoredumpUnrecognised Warn "0c28cec1b94742afa4b936976b4b76b0",
    CoredumpSeenAgain Info "a398d022d4354df48322905089933837",
    CoredumpCounted Info "4c8b1eb44f1e4ccf8372a2a784a67245",
    CoredumpDecoded Info "ac9130f4547c47d38e3a655f20731ab2",
    CoredumpUndecodable Warn "ca3ab343ac334b68be9bf77c6519a9d5",
    CoredumpRemoved Info "03c472ca449548b4b8d889d2b47a5c1d",
    CrashNew Warn "4dac75076ae240fbb8aff861b149fca8",
    CrashRegressed Warn "20a7498177ad4c7ca3fd9fb9eb3180a0",
    CrashDecided Info "804d6a62a135454ba8b414b7c22a87a2",
    CrashForgotten Info "919605928d604eb8ab1dededc1a21b47",
    CoredumpDeleted Info "77dde229df884e4dac2386e5cc86ba64",
    UploadRefused Warn "c3dd75f6808548e6ac925f09a227f039",
    UploadBrokenOff Warn "bb262a934ce14c61aa0336d98b8c82f1",
    BundleStored Info "b183256ea16e4121b07a6fc42fd7b23a",
    BundleWarning Warn "8f39aaa5729a453cb891da33e83a9d40",
    BundleRefused Warn "e5a9f6b1a29749bfadf438f7b27c1c74",
    BundleRemoved Info "f1a38d3268344c65927cb2382bedda16",
    BundleUnreadable Error "d00f7b11205f42f788c1d781b972e776",
    FirmwareActivated Info "b21b1c2e1f6141bcacb70dd842762334",
    FirmwareServed Info "b338afd6b7764568a9ca4bb956e78ec7",
    FirmwareIncompatible Warn "42d45e44f1c144cea5ec4cdaccaa956d",
    ModelChanged Info "ea44bd0d405e43118b68dba7a2bb831d",
    RolloutStarted Info "be6532c843014d61902c7f182a8c4510",
    RolloutChanged Info "f84af4020db449218c01e699fef7b852",
    RolloutWave Info "806a085de9e94f1b8ef7296cb7b16d74",
    RolloutDeviceFailed Warn "7144381779cf4675b164b6178b4e9a13",
    RolloutPaused Warn "a7786b8e85f4455cbef09fd8c716f205",
    RolloutStopped Error "55749ed5307c4ea7b6661d646e1b8940",
    RolloutBack Info "73b830340b56430ba31fe6ab8401a5c4",
    RolloutDone Info "cb04a812ecb04ee880c24dfc166e978f",
    DeviceFirstSeen Warn "670c1cd355554e3184be37c1dfe6c55b",
    FleetTokenLimited Warn "f199b8b8763d4f1f914475907dacf353",
    RetiredDeviceHeard Warn "ce56fb9cb6724b1897b385e3e679898a",
    DevicesImported Info "9124ee12482d4cae8c564f08f74c0b05",
    DeviceChanged Info "6f877ca98a42427fb0d379d72f8cbeb2",
    DeviceConfigMissing Warn "adff32f535dd4954a7f8022a4eedef2a",
    TokenMade Info "396dfa3367634f9c8484f9d69de18a44",
    TokenEnded Info "7f11ee19d49d4a71a615dc020b7ef25e",
    CredentialRefused Warn "0f66fa84183449beb91363081216b6dc",
    CertificateMade Info "76dca866649b48098780b8cf55034265",
    CertificateTrouble Error "7c77833f338f4aabb1c8046a3c6dd345",
    ConnectionTrouble Warn "e4631b553fde45b4a886904732dce811",
    ConnectionsShort Warn "f0525f81cd94409eb6deead77038613e",
    PortOpened Info "c86308a3429b4def959c11d466f6d437",
    PortGone Info "05c8d825458942898e692bf19b26be74",
    PortBusy Warn "cf6f4db354974bda913b7c4fd711cad0",
    PortTrouble Warn "52c78612cc654109b6ec730b5ab4e22f",
    PortChanged Info "265aad9d98914efebf2ea35374d7a291",
    BoardBooted Info "ce3bdd3e61ea4d369c6419b18d885add",
    BoardReset Info "0a4dbf96e290404b89629ac1f70460bb",
    BoardIdentified Info "12c6358f04ca439889d4ac768ef14fbd",
    CrashDropped Error "67ff66cf44364a2497dc0eb4d3464687",
    PanicSeen Warn "0b2f5280909a479295cb93899543cba6",
    FlashRead Info "a384627468924473b766ca85187904c8",
    FlashReadFailed Warn "f63fcde5157a4268b05f1dfa80c64aa5",
    BoardResetLate Warn "e002031c1e8145e1a0ba87065065c310",
    BackupMade Info "81bd940d53314905b01ac8795595e972",
    Restored Info "6b29507f90f64c3a816f116c9967c0f4",
    RequestFailed Error "3ecdfb0717cf4c9380c0b85b5155063a",
}

impl Event {
    /// Whether peers can cause it as often as they like, so that it is limited
    /// to a few entries a minute and counted beyond.
    pub fn is_limited(self) -> bool {
        matches!(
            self,
            Self::CoredumpUnrecognised
                | Self::CoredumpDecoded
                | Self::CoredumpSeenAgain
                | Self::CoredumpCounted
                | Self::UploadRefused
                | Self::UploadBrokenOff
                | Self::BundleRefused
                | Self::BundleUnreadable
                | Self::FirmwareServed
                | Self::FirmwareIncompatible
                | Self::DeviceFirstSeen
                | Self::DeviceConfigMissing
                | Self::CredentialRefused
                | Self::ConnectionTrouble
                | Self::PortBusy
                | Self::PortTrouble
                | Self::PortGone
                | Self::PortOpened
                | Self::BoardBooted
                | Self::PanicSeen
                | Self::CrashDropped
                | Self::FlashReadFailed
                | Self::DiskFull
                | Self::DiskReadOnly
                | Self::DiskFailed
                | Self::CoredumpUndecodable
                | Self::CrashForgotten
                | Self::RequestFailed
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn message_ids_are_128_bits_in_hex_and_unique() {
        let ids: HashSet<_> = Event::ALL.iter().map(|event| event.message_id()).collect();
        assert_eq!(ids.len(), Event::ALL.len());
        for event in Event::ALL {
            let id = event.message_id();
            assert_eq!(id.len(), 32, "{event:?}");
            assert!(
                id.bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            );
            assert_eq!(Event::from_message_id(id), Some(*event));
        }
    }
}
