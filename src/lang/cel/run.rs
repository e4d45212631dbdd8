//! Running a program on a thread of the pool, and the line between it and the thread that asked.
//!
//! The scope stays where it is: the CEL thread sends each site with its arguments over a channel and waits for the answer, so a scope needs to be neither
//! `Send` nor `'static`, and may itself evaluate expressions while it answers.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use cel::common::types::{CelInt, DYN_TYPE, INT_TYPE};
use cel::common::value::CowVal;
use cel::objects::Value as CelValue;
use cel::{Context, Env, ExecutionError};

use crate::lang::cel::program::{Fault, Program};
use crate::lang::cel::{compile, convert, explain, guard, pool};
use crate::value::Value;

/// Longest time that CEL may compute between two questions.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a site gave no value: the number of the complaint that the asking side keeps.
pub(in crate::lang) type Refused = usize;
/// The answer to a site.
pub(in crate::lang) type Answer = Result<Value, Refused>;

/// What the CEL thread says.
enum Said {
    /// It needs a site.
    Ask(usize, Vec<Value>),
    /// It is done.
    Done(Result<Value, Trouble>),
}

/// Why an evaluation gave no value.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::lang) enum Trouble {
    /// A site refused.
    Site(Refused),
    /// CEL refused.
    Cel(Fault),
    /// The library broke, or there was no thread.
    Broken(String),
}

struct Line {
    ask: Sender<Said>,
    answers: Receiver<Answer>,
}

thread_local! {
    // The library's functions are plain function pointers: the thread is the only way to their evaluation.
    static LINE: RefCell<Option<Line>> = const { RefCell::new(None) };
}

/// Adds the function that resolves sites.
pub(in crate::lang) fn declare(env: &mut Env) -> Result<(), cel::DeclarationError> {
    env.add_overload(guard::REF, "@ref1", vec![INT_TYPE], resolve)?;
    env.add_overload(guard::REF, "@ref2", vec![INT_TYPE, DYN_TYPE], resolve)?;
    env.add_overload(guard::REF, "@ref3", vec![INT_TYPE, DYN_TYPE, DYN_TYPE], resolve)
}

fn resolve<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let gone = || ExecutionError::function_error(guard::REF, "gone");
    let mut args = args.into_iter();
    let number = args.next().and_then(|number| number.downcast_ref::<CelInt>().map(|number| *number.inner()));
    let number = number.and_then(|number| usize::try_from(number).ok()).ok_or_else(gone)?;
    let mut room = guard::LARGEST_RESULT;
    let args: Result<Vec<Value>, String> = args.map(|arg| convert::of_cel(arg.as_ref(), &mut room)).collect();
    let args = args.map_err(|why| ExecutionError::function_error("@index", why))?;
    let answer = LINE.with_borrow(|line| {
        let line = line.as_ref()?;
        line.ask.send(Said::Ask(number, args)).ok()?;
        line.answers.recv().ok()
    });
    match answer.ok_or_else(gone)? {
        Ok(value) => {
            guard::charge(guard::weight(&value))?;
            Ok(CowVal::Owned(convert::to_cel(&value)))
        }
        Err(refused) => Err(ExecutionError::function_error(guard::REF, refused)),
    }
}

/// Runs a program; `answer` resolves its sites on this thread.
pub(in crate::lang) fn run(program: &Arc<Program>, mut answer: impl FnMut(usize, &[Value]) -> Answer) -> Result<Value, Trouble> {
    let (ask, said) = channel();
    let (give, answers) = channel();
    let program = Arc::clone(program);
    let done = ask.clone();
    let task = move || {
        LINE.set(Some(Line { ask, answers }));
        let result = evaluate(&program);
        LINE.set(None);
        drop(done.send(Said::Done(result)));
    };
    pool::run(Box::new(task)).map_err(|error| Trouble::Broken(format!("no thread to evaluate it on: {error}")))?;
    loop {
        match said.recv_timeout(PATIENCE) {
            Ok(Said::Ask(site, args)) => {
                let answered = answer(site, &args);
                if give.send(answered).is_err() {
                    return Err(Trouble::Broken("the evaluator went away".to_owned()));
                }
            }
            Ok(Said::Done(result)) => return result,
            // The thread is left behind: its next question fails, and without one it ends with the evaluation.
            Err(RecvTimeoutError::Timeout) => {
                return Err(Trouble::Cel(limit("it takes longer than 10 seconds")));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(Trouble::Broken("the evaluator broke on this expression".to_owned())),
        }
    }
}

fn limit(which: &str) -> Fault {
    Fault::new(0..usize::MAX, format!("the expression costs too much: {which}"))
}

/// Evaluates on this thread, whose line is set.
fn evaluate(program: &Program) -> Result<Value, Trouble> {
    guard::reset();
    let context = Context::with_env(compile::env());
    let code = program.code();
    let result = CelValue::resolve_val(&code, &context);
    if let Some(which) = guard::broken() {
        return Err(Trouble::Cel(limit(which)));
    }
    match result {
        Ok(value) => {
            let mut room = guard::LARGEST_RESULT;
            convert::of_cel(value.as_ref(), &mut room)
                .map_err(|what| Trouble::Cel(Fault::new(0..usize::MAX, format!("the expression gives {what}"))))
        }
        Err(error) => Err(explain::trouble((program, &code), &error, &context)),
    }
}
