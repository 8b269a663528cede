import "uplot/dist/uPlot.min.css";
import "./style.css";
import { render } from "preact";
import { useEffect } from "preact/hooks";
import { All } from "./all";
import { One } from "./one";
import { PlanView } from "./plan";
import { theme, usePlace, useTheme } from "./place";

document.documentElement.dataset.theme = theme();

function App() {
  const place = usePlace();
  const shown = useTheme();
  useEffect(() => {
    document.title = place.page === "one" ? `${place.run} - Rollouts` : place.page === "plan" ? `${place.dag} - Rollouts` : "Rollouts";
  }, [place]);
  switch (place.page) {
    case "one":
      return <One key={`${place.dag}/${place.run}`} dag={place.dag} run={place.run} theme={shown} />;
    case "plan":
      return <PlanView key={place.dag} dag={place.dag} />;
    default:
      return <All />;
  }
}

render(<App />, document.getElementById("app")!);
