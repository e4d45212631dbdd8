//! The table of all workflows: what each does when it is run, and when it is run again; its own head says how it is read.

/// The table as text, for people.
const TABLE: &str = include_str!("table.txt");

/// One workflow.
pub struct Row {
    /// Its name.
    pub workflow: &'static str,
    /// Inputs and confirmations as typed.
    pub arguments: Vec<&'static str>,
    /// VMs that are switched off before.
    pub off: Vec<&'static str>,
    /// VMs that are switched on before.
    pub on: Vec<&'static str>,
    /// Workflows that are run before.
    pub after: Vec<&'static str>,
    /// The exit code of the second run.
    pub again: i32,
    /// Its actions.
    pub lines: Vec<Line>,
    /// Pairs of steps of which the first is done before the second begins.
    pub orders: Vec<(&'static str, &'static str)>,
    /// Pairs of steps that may run at once.
    pub beside: Vec<(&'static str, &'static str)>,
}

/// One action.
pub struct Line {
    /// Its step, without the workflow's name.
    pub step: &'static str,
    /// What it calls.
    pub call: &'static str,
    /// Whether no step asks for it: `step` is the resource that is observed.
    pub shown: bool,
    /// How it ends in the first and in the second run.
    pub endings: [&'static str; 2],
}

impl Line {
    /// The step's path in a run of the workflow.
    pub fn path(&self, workflow: &str) -> String {
        if self.shown { self.step.to_owned() } else { format!("{workflow}/{}", self.step) }
    }
}

/// Every row.
pub fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for line in TABLE.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        match rows.last_mut() {
            Some(row) if line.starts_with(' ') => body(row, line),
            _ => rows.push(head(line)),
        }
    }
    rows
}

fn head(line: &'static str) -> Row {
    let mut words = line.split_whitespace();
    let workflow = words.next().unwrap_or_default();
    let mut row = Row {
        workflow,
        arguments: vec![],
        off: vec![],
        on: vec![],
        after: vec![],
        again: 0,
        lines: vec![],
        orders: vec![],
        beside: vec![],
    };
    while let (Some(word), Some(value)) = (words.next(), words.next()) {
        match word {
            "-i" | "--yes" => row.arguments.extend([word, value]),
            "off" => row.off.push(value),
            "on" => row.on.push(value),
            "after" => row.after.push(value),
            "again" => row.again = value.parse().unwrap_or_else(|_| panic!("`{value}` is no exit code: {line}")),
            _ => panic!("`{word}` means nothing: {line}"),
        }
    }
    row
}

fn body(row: &mut Row, line: &'static str) {
    let pairs = |mark: char| {
        let steps: Vec<&'static str> = line.split(mark).map(str::trim).collect();
        steps.windows(2).map(|pair| (pair[0], pair[1])).collect::<Vec<_>>()
    };
    if line.contains('<') {
        return row.orders.extend(pairs('<'));
    }
    if line.contains('|') {
        return row.beside.extend(pairs('|'));
    }
    let words: Vec<&str> = line.split_whitespace().filter(|word| *word != "+").collect();
    let [step, call, first, second] = words[..] else { panic!("not four words: {line}") };
    row.lines.push(Line { step, call, shown: line.trim_start().starts_with('+'), endings: [first, second] });
}
