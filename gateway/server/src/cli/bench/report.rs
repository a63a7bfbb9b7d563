//! The table: a figure, its floor in the same run, their ratio, and what the project wants of it.

use std::fs;

use anyhow::Result;

/// One line.
struct Line {
    what: String,
    figure: String,
    floor: String,
    ratio: String,
    target: &'static str,
}

/// The lines so far; each is printed as soon as it is known, the whole table at the end.
pub(super) struct Report {
    machine: String,
    lines: Vec<Line>,
}

impl Report {
    pub(super) fn start() -> Result<Self> {
        let cores = std::thread::available_parallelism()?;
        let cpu = fs::read_to_string("/proc/cpuinfo")?;
        let model = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or("", |(_, name)| name);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let machine = format!("{cores} cores {model}, Linux {}, clients on the same cores", kernel.trim());
        Ok(Self { machine, lines: Vec::new() })
    }

    /// A figure beside its floor.
    pub(super) fn compared(
        &mut self,
        what: &str,
        unit: &str,
        figure: f64,
        floor: f64,
        ratio: f64,
        target: &'static str,
    ) {
        self.line(Line {
            what: what.to_owned(),
            figure: format!("{figure:.2} {unit}"),
            floor: format!("{floor:.2} {unit}"),
            ratio: format!("{ratio:.2}x"),
            target,
        });
    }

    /// A figure that has no floor.
    pub(super) fn alone(&mut self, what: &str, unit: &str, figure: f64, target: &'static str) {
        let figure =
            if figure >= 1000.0 { format!("{figure:.0} {unit}") } else { format!("{figure:.2} {unit}") };
        self.line(Line { what: what.to_owned(), figure, floor: String::new(), ratio: String::new(), target });
    }

    fn line(&mut self, line: Line) {
        super::super::report(&format!("{}: {} {} {}", line.what, line.figure, line.floor, line.ratio));
        self.lines.push(line);
    }

    /// Prints the table as Markdown.
    pub(super) fn print(&self) -> Result<()> {
        let mut text = format!(
            "{}\n\n| what | figure | floor | ratio | wanted |\n|---|---|---|---|---|\n",
            self.machine
        );
        for Line { what, figure, floor, ratio, target } in &self.lines {
            text.push_str(&format!("| {what} | {figure} | {floor} | {ratio} | {target} |\n"));
        }
        use std::io::Write;
        std::io::stdout().lock().write_all(text.as_bytes())?;
        Ok(())
    }
}

/// The middle of some figures.
pub(super) fn median(figures: &[f64]) -> f64 {
    percentile(figures, 50.0)
}

/// The figure below which `percent` of them are.
pub(super) fn percentile(figures: &[f64], percent: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len().saturating_sub(1)) as f64 * percent / 100.0;
    sorted.get(at.round() as usize).copied().unwrap_or(f64::NAN)
}
