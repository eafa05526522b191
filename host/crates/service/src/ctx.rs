//! Who asks, and in which circumstances: the first argument of every use case.

use koban_domain::access::Warrant;
use koban_domain::ids::{KeyId, MerchantId, OperatorId, ScheduleId, StepUpId, UserId};
use koban_domain::ledger::Work;
use uuid::Uuid;

/// What stands for an operator where nobody was named: the command line and the check of identities.
pub const COMMAND_LINE: OperatorId = OperatorId(Uuid::nil());

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// A signed-in wallet user.
    User(UserId),
    /// A merchant, by one of its API keys.
    Merchant(MerchantId, KeyId),
    /// An operator of the platform.
    Operator(OperatorId),
    /// A user, by what they scheduled before. An actor of its own: its operations cannot meet those that the user asks for.
    Schedule(ScheduleId, UserId),
    /// Whoever uses the `koban` command without an operator's password, by the name that the machine gives them. They may do
    /// what operators may, because they can open the database; but they are nobody's second person.
    CommandLine(&'static str),
    /// The check of identities behind [`crate::verification::Check`], which decides in the operators' name.
    IdentityCheck,
    /// The host itself: jobs and flows.
    System,
}

impl std::fmt::Display for Actor {
    /// As entries, operations and audit rows name the actor. A merchant is the same actor under each of its keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Actor::User(id) => write!(f, "user:{id}"),
            Actor::Merchant(id, _) => write!(f, "merchant:{id}"),
            Actor::Operator(id) => write!(f, "operator:{id}"),
            Actor::Schedule(id, _) => write!(f, "schedule:{id}"),
            Actor::CommandLine(name) => write!(f, "command-line:{name}"),
            Actor::IdentityCheck => f.write_str("identity-check"),
            Actor::System => f.write_str("system"),
        }
    }
}

/// The circumstances of a request.
#[derive(Debug, Clone)]
pub struct Ctx {
    /// Who asks.
    pub actor: Actor,
    /// The `Idempotency-Key` of a money request; empty where none is asked for.
    pub key: String,
    /// The `Koban-Device` header.
    pub device: Option<String>,
    /// `ja` or `en`.
    pub locale: String,
    /// Whether the request is only tried: decided like any other, told, and taken back. Its key is not used.
    pub trial: bool,
    /// What the actor's authority rests on, if it can be taken back while the request runs.
    pub warrant: Option<Warrant>,
    /// The `Koban-Step-Up` header: a challenge that the payer has confirmed.
    pub step_up: Option<StepUpId>,
}

impl Ctx {
    /// A request of this actor under this key.
    pub fn new(actor: Actor, key: impl Into<String>) -> Ctx {
        let (key, locale) = (key.into(), "en".to_owned());
        Ctx { actor, key, device: None, locale, trial: false, warrant: None, step_up: None }
    }

    /// Work of this actor that does nothing yet.
    pub(crate) fn work(&self, id: Uuid) -> Work {
        Work { warrant: self.warrant, ..Work::new(id, self.actor.to_string()) }
    }

    /// Errors: the request is only tried, and what it asks for cannot be foreseen by the books alone.
    pub(crate) fn not_on_trial(&self) -> Result<(), crate::error::Error> {
        if self.trial { Err(crate::error::Error::TrialNotPossible) } else { Ok(()) }
    }

    /// The signed-in user, or the one whose schedule it is. Errors: [`crate::error::Error::Forbidden`] for anybody else.
    pub fn user(&self) -> Result<UserId, crate::error::Error> {
        match self.actor {
            Actor::User(user) | Actor::Schedule(_, user) => Ok(user),
            _ => Err(crate::error::Error::Forbidden("only wallet users may do this")),
        }
    }

    /// The merchant. Errors: [`crate::error::Error::Forbidden`] for anybody else.
    pub fn merchant(&self) -> Result<MerchantId, crate::error::Error> {
        match self.actor {
            Actor::Merchant(merchant, _) => Ok(merchant),
            _ => Err(crate::error::Error::Forbidden("only merchants may do this")),
        }
    }

    /// The operator; [`COMMAND_LINE`] stands for whoever acts as one without being named. Errors:
    /// [`crate::error::Error::Forbidden`] for anybody else.
    pub fn operator(&self) -> Result<OperatorId, crate::error::Error> {
        match self.actor {
            Actor::Operator(operator) => Ok(operator),
            Actor::CommandLine(_) | Actor::IdentityCheck => Ok(COMMAND_LINE),
            _ => Err(crate::error::Error::Forbidden("only operators may do this")),
        }
    }

    /// The operator as a person who has proved who they are, for what two people must do together. Errors:
    /// [`crate::error::Error::Forbidden`] for anybody else.
    pub fn person(&self) -> Result<OperatorId, crate::error::Error> {
        match self.actor {
            Actor::Operator(operator) => Ok(operator),
            Actor::CommandLine(_) => Err(crate::error::Error::Forbidden(
                "two people do this together, so each says who they are: name yourself with --operator EMAIL",
            )),
            _ => Err(crate::error::Error::Forbidden("only operators may do this")),
        }
    }
}
