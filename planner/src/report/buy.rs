//! What to buy or rent: a line an offer for people, every figure for programs.

use serde::Serialize;

use super::SCHEMA;
use super::table::{Align, below, table};
use crate::buy::{Asked, Budget, Lack, Offer, Offers, Wanted, Way};
use crate::bytes::{Bytes, GIB};
use crate::model::Model;
use crate::run::{Mode, Run};

use Align::{Left, Right};

/// The most offers that people see.
const MOST: usize = 30;

/// The most GPUs that are named where nothing fits.
const NAMED: usize = 8;

/// Offers with what they are for.
#[derive(Clone, Copy, Debug)]
pub struct Bought<'a> {
    /// The model.
    pub model: &'a Model,
    /// The run.
    pub run: &'a Run,
    /// The budget and the number of GPUs that were asked for.
    pub wanted: &'a Wanted,
    /// The offers.
    pub offers: &'a Offers,
}

/// The offers for people; those that a simpler one of the same GPU makes pointless are left out.
pub fn text(bought: &Bought<'_>) -> String {
    let Bought { model, run, offers, .. } = bought;
    let shown: Vec<&Offer> = offers.offers.iter().filter(|offer| !offer.dominated).collect();
    let serves = run.mode == Mode::Generate;
    let mut lines =
        vec![["usd/h", "usd", "priced", "gpus", "", "strategy", "GiB", "of", "host", "step"].map(str::to_owned)];
    let purchase = matches!(bought.wanted.budget, Some(Budget::Purchase(_)));
    lines.extend(shown.iter().take(MOST).map(|offer| line(offer, purchase)));
    let columns = [Right, Right, Left, Right, Left, Left, Right, Right, Right, Right];
    let subject = format!("{}: {}\n\n", model.name, subject(run));
    let figures = if serves { serving(&shown) } else { String::new() };
    let fits_elsewhere = offers.beyond + offers.unpriced > 0;
    let body = match (shown.is_empty(), fits_elsewhere) {
        (true, true) => "nothing that fits is within the budget\n".to_owned(),
        (true, false) => "nothing fits\n".to_owned(),
        _ => table(columns, &lines),
    };
    subject + &figures + &body + &below(remarks(bought, &shown))
}

fn subject(run: &Run) -> String {
    match run.mode {
        Mode::Generate => {
            let context = run.seq.saturating_add(run.new_tokens);
            format!("serving {} requests at once, each of {context} tokens", run.batch)
        }
        mode => format!("{mode}, batch {} on each GPU", run.batch),
    }
}

/// An offer; the date is that of the price by which it is sorted.
fn line(offer: &Offer, purchase: bool) -> [String; 10] {
    let usd =
        |asked: &Option<Asked>| asked.as_ref().map_or_else(|| "-".to_owned(), |asked| format!("{:.2}", asked.usd));
    let prices = &offer.prices;
    let (first, second) =
        if purchase { (&prices.purchase, &prices.hourly) } else { (&prices.hourly, &prices.purchase) };
    let priced = first.as_ref().or(second.as_ref());
    let bound = if offer.rank.reserved.is_none() { "<= " } else { "" };
    let peak = gib(offer.rank.reserved.unwrap_or(offer.rank.allocated));
    [
        usd(&prices.hourly),
        usd(&prices.purchase),
        priced.map_or_else(|| "no price known".to_owned(), |asked| asked.date.clone()),
        offer.gpus.to_string(),
        offer.gpu.key.clone(),
        offer.strategy.words(),
        format!("{bound}{peak}"),
        gib(offer.capacity),
        if offer.rank.host.0 > 0 { gib(offer.rank.host) } else { String::new() },
        step(offer),
    ]
}

/// The time of a step; what was not measured is the least that it can take.
fn step(offer: &Offer) -> String {
    let Some(seconds) = offer.seconds else { return String::new() };
    let least = if offer.gpu.has_measured_speeds() { "" } else { ">= " };
    format!("{least}{}", super::seconds(seconds))
}

fn gib(bytes: Bytes) -> String {
    format!("{:.2}", bytes.0 as f64 / GIB as f64)
}

/// What serving takes, on the GPU of the first offer.
fn serving(shown: &[&Offer]) -> String {
    let Some(served) = shown.first().and_then(|offer| offer.served) else { return String::new() };
    let row = |name: &str, bytes: Bytes| [name.to_owned(), bytes.0.to_string(), bytes.to_string()];
    let rows = [
        row("weights", served.weights),
        row("keys and values", served.cache.total()),
        row("peak of the prefill, allocated", served.prefill),
    ];
    format!("{}\n", table([Left, Right, Right], &rows))
}

fn remarks(bought: &Bought<'_>, shown: &[&Offer]) -> Vec<String> {
    let Bought { run, wanted, offers, .. } = bought;
    let mut remarks = Vec::new();
    if shown.len() > MOST {
        remarks.push(format!(
            "{} more: --format json has all, those too that take more GPUs than are needed",
            shown.len() - MOST
        ));
    }
    let kind = match wanted.budget {
        Some(Budget::Hourly(_)) => "by the hour",
        _ => "to own",
    };
    if offers.beyond > 0 {
        remarks.push(format!("{} offers are beyond the budget", offers.beyond));
    }
    if offers.unpriced > 0 {
        remarks.push(format!("{} offers have no price {kind}", offers.unpriced));
    }
    if !offers.none.is_empty() {
        let most = wanted.most;
        let names = match offers.none.len() {
            ..=NAMED => offers.none.iter().map(|lack| &*lack.gpu.key).collect::<Vec<_>>().join(", "),
            count => format!("{count} kinds of GPUs"),
        };
        remarks.push(format!("nothing fits on {names}, with up to {most} of them"));
        let roomiest = offers.none.iter().max_by_key(|lack| lack.capacity);
        remarks.extend(roomiest.map(lacking));
    }
    remarks.extend(offers.refused.as_ref().map(|reason| format!("refused on some: {reason}")));
    if shown.iter().any(|offer| matches!(offer.strategy.way, Way::Zero(_))) {
        remarks.push(
            "<=: ZeRO's figures are a bound on what is allocated, with DeepSpeed's defaults; what the allocator reserves beyond \
             that is not known"
                .to_owned(),
        );
    }
    if shown.iter().any(|offer| offer.seconds.is_some()) {
        remarks.push(
            "step: of one rank, without communication and the host; >=: by the GPU's datasheet, not measured"
                .to_owned(),
        );
    }
    if run.mode == Mode::Generate {
        remarks.push("for more requests: more GPUs, each with the model of its own".to_owned());
    }
    remarks
}

/// What a GPU that nothing fits on would have to hold, in the way that asks for least.
fn lacking(lack: &Lack) -> String {
    let Lack { gpu, gpus, strategy, needed, capacity, served } = lack;
    match served {
        Some(served) => format!(
            "one model on one {}: {} of weights, {} of keys and values and a prefill that peaks at {} allocated, {capacity} \
             free; one model on several GPUs (tensor parallelism) is not planned",
            gpu.key,
            served.weights,
            served.cache.total(),
            served.prefill
        ),
        None => format!("nearest: {gpus} {} ({}): {needed} needed on each, {capacity} free", gpu.key, strategy.words()),
    }
}

/// `memplan buy --format json`. Sizes of memory are bytes, prices US dollars without taxes.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys are explained where they need it")]
pub struct BuyReport {
    pub schema: u32,
    pub model: String,
    pub mode: Mode,
    pub max_gpus: u64,
    /// The cheapest first.
    pub rows: Vec<BuyRow>,
    pub beyond_budget: usize,
    /// Offers without a price of the budget's kind, which are left out where there is a budget.
    pub unpriced: usize,
    /// GPUs on which nothing fits.
    pub nothing_fits: Vec<String>,
    /// The nearest that each of those comes.
    pub lacking: Vec<LackRow>,
}

/// A GPU on which nothing fits, with the strategy that asks for least of each.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as in the report")]
pub struct LackRow {
    pub gpu: String,
    pub gpus: u64,
    pub strategy: String,
    pub needed: Bytes,
    pub capacity: Bytes,
}

/// An offer.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as in the report")]
pub struct BuyRow {
    pub gpu: String,
    pub gpus: u64,
    pub strategy: String,
    /// What is to be added to the run's flags to plan a rank; null for ZeRO.
    pub flags: Option<String>,
    /// Whether the figures are those of a plan; else `peak_allocated` is a bound.
    pub exact: bool,
    /// Of the worst rank.
    pub peak_allocated: Bytes,
    pub peak_reserved: Option<Bytes>,
    /// What a rank keeps in the host's memory.
    pub host: Bytes,
    pub capacity: Bytes,
    /// The time of a step of each rank, without communication and the host.
    pub step_seconds: Option<f64>,
    /// Whether the GPU's speeds were measured; else the time is the least that the work can take.
    pub measured_speeds: bool,
    /// Of all GPUs together.
    pub hourly: Option<PriceRow>,
    pub purchase: Option<PriceRow>,
    /// Whether another offer of the same GPU takes no more of them and is simpler.
    pub dominated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_cache: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefill_peak: Option<Bytes>,
}

/// A price.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "as in the report")]
pub struct PriceRow {
    pub usd: f64,
    pub date: String,
    pub source: String,
}

/// The offers for programs.
pub fn json(bought: &Bought<'_>) -> BuyReport {
    let Bought { model, run, wanted, offers } = bought;
    BuyReport {
        schema: SCHEMA,
        model: model.name.clone(),
        mode: run.mode,
        max_gpus: wanted.most,
        rows: offers.offers.iter().map(row).collect(),
        beyond_budget: offers.beyond,
        unpriced: offers.unpriced,
        nothing_fits: offers.none.iter().map(|lack| lack.gpu.key.clone()).collect(),
        lacking: offers.none.iter().map(lack).collect(),
    }
}

fn lack(lack: &Lack) -> LackRow {
    let Lack { gpu, gpus, strategy, needed, capacity, .. } = lack;
    LackRow { gpu: gpu.key.clone(), gpus: *gpus, strategy: strategy.words(), needed: *needed, capacity: *capacity }
}

fn row(offer: &Offer) -> BuyRow {
    let price = |asked: &Option<Asked>| {
        asked.clone().map(|asked| PriceRow { usd: asked.usd, date: asked.date, source: asked.source })
    };
    BuyRow {
        gpu: offer.gpu.key.clone(),
        gpus: offer.gpus,
        strategy: offer.strategy.words(),
        flags: offer.flags.as_ref().map(|flags| flags.to_string()),
        exact: offer.rank.reserved.is_some(),
        peak_allocated: offer.rank.allocated,
        peak_reserved: offer.rank.reserved,
        host: offer.rank.host,
        capacity: offer.capacity,
        step_seconds: offer.seconds,
        measured_speeds: offer.gpu.has_measured_speeds(),
        hourly: price(&offer.prices.hourly),
        purchase: price(&offer.prices.purchase),
        dominated: offer.dominated,
        weights: offer.served.map(|served| served.weights),
        kv_cache: offer.served.map(|served| served.cache.total()),
        prefill_peak: offer.served.map(|served| served.prefill),
    }
}
