/** The page: wires its parts, opens an engine, loads a model and draws. */
import { setUpDistil } from './distil.js';
import { setUpEngines } from './engine-panel.js';
import { setUpGenerate } from './generate.js';
import { setUpModels } from './model-panel.js';
import { createSession, showProblem } from './session.js';
import { readSettings, writeSettings } from './settings.js';
import { setUpTabs } from './ui/tabs.js';

const settings = readSettings(location.search);
const session = createSession();
const generate = setUpGenerate(session, settings);
setUpDistil(session, settings);
setUpTabs(settings.tab, (tab) => writeSettings({ tab: tab === 'distil' ? tab : undefined }));

let isFirst = true;
/** The first images come by themselves, as soon as there is both. */
function drawFirst(): void {
  if (!isFirst || !session.model() || !session.engine() || settings.tab !== 'generate') return;
  isFirst = false;
  generate.draw();
}
session.onModel(drawFirst);
session.onEngine(drawFirst);

await Promise.all([
  setUpEngines(session, settings.engine),
  setUpModels(session, settings.model, (offered) => generate.setOffered(offered)),
]).catch(showProblem);
