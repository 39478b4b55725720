//! One command and its reply: what is sent, how long to wait, what counts as a
//! reply, and when to retry.

use std::time::Duration;

use super::command::{Command, RomReply};
use super::slip::Decoder;

/// What an exchange wants next.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum ExchangeEvent {
    /// Send these bytes and wait this long.
    Send(Vec<u8>, Duration),
    Answered(RomReply),
    /// No answer to any attempt.
    Silent,
}

/// A command under way.
///
/// A command that was not answered is only sent again after a fresh sync was:
/// ROMs answer in order, so once the sync's answer is here, no late answer to
/// the first attempt can be taken for an answer to what is asked later.
#[derive(Debug)]
pub(super) struct Exchange {
    decoder: Decoder,
    command: Command,
    attempts: u8,
    /// Syncs left, while one is awaited before the command is sent again.
    syncing: Option<u8>,
}

impl Exchange {
    pub(super) fn idle() -> Self {
        Self {
            decoder: Decoder::default(),
            command: Command::Sync,
            attempts: 0,
            syncing: None,
        }
    }

    /// Begins with `command`; forgets the one before.
    pub(super) fn begin(&mut self, command: Command) -> ExchangeEvent {
        self.command = command;
        self.syncing = None;
        self.attempts = if command == Command::Sync {
            SYNC_ATTEMPTS
        } else {
            ATTEMPTS
        };
        self.send()
    }

    /// Takes what arrived since the last request.
    ///
    /// What follows an answer in the same piece cannot answer anything asked
    /// later, so it is dropped.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Option<ExchangeEvent> {
        let mut event = None;
        for byte in bytes {
            if let Some(frame) = self.decoder.feed(*byte)
                && event.is_none()
            {
                event = self.consider(&frame);
            }
        }
        event
    }

    /// The time for an answer is over.
    pub(super) fn expire(&mut self) -> ExchangeEvent {
        match &mut self.syncing {
            Some(0) => ExchangeEvent::Silent,
            Some(left) => {
                *left -= 1;
                ExchangeEvent::Send(Command::Sync.frame(), SYNC_PATIENCE)
            }
            None => self.again(),
        }
    }

    /// Tries the command again, if that is still allowed.
    pub(super) fn again(&mut self) -> ExchangeEvent {
        if self.attempts == 0 {
            return ExchangeEvent::Silent;
        }
        if self.command == Command::Sync {
            return self.send();
        }
        self.syncing = Some(SYNC_ATTEMPTS - 1);
        ExchangeEvent::Send(Command::Sync.frame(), SYNC_PATIENCE)
    }

    fn send(&mut self) -> ExchangeEvent {
        self.attempts = self.attempts.saturating_sub(1);
        let patience = if self.command == Command::Sync {
            SYNC_PATIENCE
        } else {
            PATIENCE
        };
        ExchangeEvent::Send(self.command.frame(), patience)
    }

    fn consider(&mut self, frame: &[u8]) -> Option<ExchangeEvent> {
        if self.syncing.is_some() {
            Command::Sync.answer(frame)?;
            self.syncing = None;
            return Some(self.send());
        }
        self.command.answer(frame).map(ExchangeEvent::Answered)
    }
}

/// Attempts for one command.
const ATTEMPTS: u8 = 3;

/// Attempts for a sync: a ROM measures the speed with the first ones.
const SYNC_ATTEMPTS: u8 = 7;

/// Far more than a ROM needs: USB adapters buffer for up to 16 ms, busy hosts
/// for longer.
const PATIENCE: Duration = Duration::from_millis(500);

const SYNC_PATIENCE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Command = Command::ReadRegister { address: 0x40 };

    fn answer(opcode: u8, value: u8) -> Vec<u8> {
        super::super::slip::encode(&[1, opcode, 4, 0, value, 0, 0, 0, 0, 0, 0, 0])
    }

    fn done(value: u32) -> ExchangeEvent {
        ExchangeEvent::Answered(RomReply::Done {
            value,
            data: vec![],
        })
    }

    #[test]
    fn echoes_and_noise_before_the_answer_are_skipped() {
        let mut exchange = Exchange::idle();
        exchange.begin(READ);
        let mut bytes = b"boot text\xC0\xDB\xDB".to_vec();
        bytes.extend(answer(0x08, 7).repeat(7));
        assert_eq!(exchange.receive(&bytes), None);
        let (head, tail) = (&answer(0x0A, 9)[..5], &answer(0x0A, 9)[5..]);
        assert_eq!(exchange.receive(head), None);
        assert_eq!(exchange.receive(tail), Some(done(9)));
    }

    #[test]
    fn a_late_answer_is_never_taken_for_the_next_commands() {
        let mut exchange = Exchange::idle();
        exchange.begin(READ);
        assert_eq!(
            exchange.expire(),
            ExchangeEvent::Send(Command::Sync.frame(), SYNC_PATIENCE)
        );
        // The first attempt's answer arrives after all, then the sync's.
        assert_eq!(exchange.receive(&answer(0x0A, 1)), None);
        let again = exchange.receive(&answer(0x08, 7));
        assert_eq!(again, Some(ExchangeEvent::Send(READ.frame(), PATIENCE)));
        assert_eq!(exchange.receive(&answer(0x0A, 2)), Some(done(2)));
    }

    #[test]
    fn what_follows_an_answer_in_one_piece_answers_nothing_later() {
        let mut exchange = Exchange::idle();
        exchange.begin(READ);
        let twice = [answer(0x0A, 1), answer(0x0A, 1)].concat();
        assert_eq!(exchange.receive(&twice), Some(done(1)));
        exchange.begin(READ);
        assert_eq!(exchange.receive(&[]), None);
    }

    #[test]
    fn silence_ends_after_a_known_number_of_attempts() {
        for (command, sent) in [(Command::Sync, 7), (READ, 1 + 7)] {
            let mut exchange = Exchange::idle();
            let mut event = exchange.begin(command);
            let mut count = 0;
            while event != ExchangeEvent::Silent {
                count += 1;
                event = exchange.expire();
            }
            assert_eq!(count, sent, "{command:?}");
        }
    }

    #[test]
    fn a_command_whose_answers_get_lost_is_sent_three_times() {
        let mut exchange = Exchange::idle();
        let mut event = exchange.begin(READ);
        let mut count = 0;
        while let ExchangeEvent::Send(bytes, _) = event {
            count += u32::from(bytes == READ.frame());
            event = match bytes == Command::Sync.frame() {
                true => exchange.receive(&answer(0x08, 7)).unwrap(),
                false => exchange.expire(),
            };
        }
        assert_eq!((count, event), (3, ExchangeEvent::Silent));
    }
}
