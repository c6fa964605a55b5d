//! JSON Schemas of the answers for programs, written from their types: what `docs/schemas/` holds, a file each.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::json;

use super::{
    SCHEMA, advise, arena, buy, calibrate, catalogue, changes, check, checkpoint, compare, estimate, fit, graph,
    inspect, json, packed, replay, sweep, versions,
};

/// The schema of each answer, by the name of its file and the call that gives it.
pub fn all() -> Vec<(&'static str, Schema)> {
    vec![
        of::<advise::AdviceReport>("advise", "memplan advise"),
        of::<buy::BuyReport>("buy", "memplan buy"),
        of::<calibrate::JsonProfile<'_>>("calibrate", "memplan calibrate"),
        of::<calibrate::JsonReplay<'_>>("calibrate-replay", "memplan calibrate --replay"),
        of::<check::CheckReport>("check", "memplan check"),
        of::<checkpoint::JsonAnswer>("checkpoint", "memplan checkpoint"),
        of::<compare::CompareReport>("compare", "memplan plan --compare"),
        of::<checkpoint::JsonCurve>("curve", "memplan checkpoint --curve"),
        of::<estimate::EstimateReport>("estimate", "memplan plan, of a model that is not described,"),
        of::<changes::DiffReport>("diff", "memplan diff"),
        of::<fit::FitReport>("fit", "memplan fit"),
        of::<catalogue::GpusReport>("gpus", "memplan gpus"),
        of::<graph::GraphReport>("graph", "memplan graph"),
        of::<inspect::InspectionReport>("inspect", "memplan inspect"),
        of::<catalogue::ModelsReport>("models", "memplan models"),
        of::<graph::OperatorsReport>("ops", "memplan ops"),
        of::<arena::JsonArena>("pack", "memplan pack MODEL"),
        of::<packed::PackedReport<'_>>("pack-buffers", "memplan pack BUFFERS.csv"),
        of::<packed::ValidationReport<'_>>("pack-validate", "memplan pack --validate BUFFERS.csv PACKED.csv"),
        of::<json::Report>("plan", "memplan plan"),
        of::<replay::ReplayReport>("replay", "memplan replay"),
        of::<fit::RoomsReport>("rooms", "memplan fit TRACE"),
        of::<sweep::SweepReport>("sweep", "memplan sweep"),
        of::<versions::VersionsReport>("versions", "memplan versions"),
    ]
}

/// An answer's schema: of what is written, so that a key which is always there is required.
fn of<T: JsonSchema>(name: &'static str, call: &str) -> (&'static str, Schema) {
    // what refuses unknown keys when it is read may have more of them in an answer
    let open = RecursiveTransform(|schema: &mut Schema| {
        if schema.get("additionalProperties").is_some_and(|others| others == false) {
            schema.remove("additionalProperties");
        }
    });
    let generator = SchemaSettings::draft2020_12().for_serialize().with_transform(open).into_generator();
    let mut schema = generator.into_root_schema_for::<T>();
    schema.insert("title".to_owned(), format!("{call} --format json").into());
    if let Some(version) = schema.pointer_mut("/properties/schema") {
        let told = "Another number means that a key changed its name or meaning; keys may be added without.";
        *version = json!({ "description": told, "const": SCHEMA });
    }
    (name, schema)
}
