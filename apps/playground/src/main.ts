/** The page: wires its parts, opens an engine, loads a model and draws. */
import { setUpDistil } from './distil.js';
import { setUpEngines } from './engine-panel.js';
import { setUpGenerate } from './generate.js';
import { setUpModels } from './model-panel.js';
import { createSession, showProblem } from './session.js';
import { readSettings, writeSettings } from './settings.js';
import { setUpTabs } from './ui/tabs.js';

/** Between two of these the browser may draw and answer: in one piece they would hold up a slow machine for 50 ms. */
const nextTask = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

const settings = readSettings(location.search);
setUpTabs(settings.tab, (tab) => writeSettings({ tab: tab === 'distil' ? tab : undefined }));
await nextTask();
const session = createSession();
await nextTask();
const generate = setUpGenerate(session, settings);
await nextTask();
setUpDistil(session, settings);
await nextTask();

let isFirst = true;
/** The first images come by themselves, as soon as there is both. */
function drawFirst(): void {
  if (!isFirst || !session.model() || !(session.engine() || session.served()) || settings.tab !== 'generate') return;
  isFirst = false;
  generate.draw();
}
session.onModel(drawFirst);
session.onEngine(drawFirst);

await Promise.all([
  setUpEngines(session, settings.engine),
  setUpModels(session, settings.model, (offered) => generate.setOffered(offered)),
]).catch(showProblem);
