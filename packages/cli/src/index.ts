/** The command line as a library: run it, read its configuration, load what it writes. */
export { checkConfig, nearestKey, type CheckedConfig } from './config/check.js';
export { allKeyPaths, configJsonSchema, type SchemaNode } from './config/describe-schema.js';
export { configError, loadConfig, type ConfigRequest, type ConfigSetting, type LoadedConfig } from './config/load.js';
export { configurationMarkdown } from './config/markdown.js';
export {
  configSchema,
  defineConfig,
  type DimoConfig as ResolvedConfig,
  type PartialDimoConfig as DimoConfig,
} from './config/schema.js';
export {
  maximumConfigBytes,
  maximumConfigDepth,
  pathText,
  readYaml,
  type ConfigProblem,
  type ConfigSource,
} from './config/yaml-source.js';
export { distillationOptions, teacherTrainingOptions } from './training/distillation-settings.js';
export { exitCodeOf, printFailure } from './output/failure.js';
export { watchHealth, type HealthWatch } from './run/health.js';
export { findGenerator, findModel, findTeacher, loadGenerator, type FoundModel } from './models/models.js';
export { checkPluginSpecifier, loadPlugin, loadRegistry, type PluginSpecifier } from './project/plugins.js';
export { buildProgram, everyCommand } from './program/program.js';
export { createProgress, type Progress, type ProgressOptions } from './run/progress.js';
export { readMetrics, type MetricsLine } from './run/metrics.js';
export { createEventWriter, eventRecord, summaryEvent, type EventWriter } from './run/tensorboard.js';
export { trainRun, type TrainRun, type TrainRunResult } from './run/train-run.js';
export { run } from './program/run-program.js';
export { defaultServeLimits, type ServeLimits } from './serve/limits.js';
export { bundledPage, openPage, type PageHandler } from './serve/page.js';
export { serveModel, type ServedModel } from './serve/served-model.js';
export { startServer, type RunningServer, type ServeOptions } from './serve/server.js';
export { cleanText, print, printError } from './output/terminal.js';
